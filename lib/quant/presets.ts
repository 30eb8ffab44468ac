import { PARTS, type Part } from './parts.js'
import { PRESETS, type PublishedPart, type PublishedPreset } from './published/parts.js'

export type Preset = 'best' | PublishedPreset

export type AnyPart = Part | PublishedPart

/** What a preset is made of, in the order of parts.ts and published/parts.ts. */
export const partsOf = (preset: Preset): readonly AnyPart[] => (preset === 'best' ? PARTS : PRESETS[preset])
