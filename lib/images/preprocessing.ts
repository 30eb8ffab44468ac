/** The recipe that makes a model's input of an image: plain data, stored in a .fewbit file as it is. */
import { checkFields, isObject, type JsonObject, show } from '../values.js'
import { RESAMPLE_BY_NUMBER, type Resample } from './filters.js'

export interface Preprocessing {
  /** null: images must come in their final size. exact: aspect ratio given up. shortest: the shorter side becomes `edge` pixels. */
  resize: null | { mode: 'exact'; height: number; width: number } | { mode: 'shortest'; edge: number }
  resample: Resample
  /**
   * The middle of the resized image, black where it is too small. When the margins cannot be equal: `rounding` 'even' rounds half a pixel
   * to even (torchvision, timm), otherwise down (transformers).
   */
  crop: null | { height: number; width: number; rounding?: 'even' }
  /** Factor from 0..255, mostly 1 / 255. */
  rescale: number
  /** One a channel, in units of rescaled pixels: value = (pixel * rescale - mean) / std. */
  mean: number[]
  std: number[]
  /** Final size, what the model sees. */
  channels: 1 | 3
  height: number
  width: number
}

/** Longest side of a model's input, pixels. */
const MAX_INPUT = 8192

function isSide(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_INPUT
}

/** Of a recipe; all that it means is known, or images would be made otherwise than the model wants. */
const FIELDS = ['resize', 'resample', 'crop', 'rescale', 'mean', 'std', 'channels', 'height', 'width']
const RESIZE = new Map([
  ['exact', ['mode', 'height', 'width']],
  ['shortest', ['mode', 'edge']],
])
const CROP = ['height', 'width', 'rounding']

function checkAllKnown(recipe: JsonObject, source: string): void {
  checkFields(recipe, FIELDS, source)
  const { resize, crop } = recipe
  const known = isObject(resize) && RESIZE.get(resize.mode as string)
  if (known) checkFields(resize, known, `${source}: resize`)
  if (isObject(crop)) checkFields(crop, CROP, `${source}: crop`)
}

/**
 * Refuses a recipe that cannot work, as a damaged file may hold one.
 *
 * @param source what to call its origin in messages
 * @returns the same object
 * @throws Error naming the field
 */
export function checkPreprocessing(value: unknown, source = 'preprocessing'): Preprocessing {
  const fail = (field: string, wanted: string, found: unknown): never => {
    throw new Error(`${source}: ${field} must be ${wanted}, not ${show(found)}`)
  }
  if (!isObject(value)) return fail('preprocessing', 'an object', value)
  checkAllKnown(value, source)
  const p = value as unknown as Preprocessing
  const sides = `an integer from 1 to ${MAX_INPUT}`
  if (p.channels !== 1 && p.channels !== 3) fail('channels', '1 or 3', p.channels)
  if (!isSide(p.height)) fail('height', sides, p.height)
  if (!isSide(p.width)) fail('width', sides, p.width)
  if (!RESAMPLE_BY_NUMBER.includes(p.resample)) fail('resample', `one of ${RESAMPLE_BY_NUMBER.join(', ')}`, p.resample)
  if (!Number.isFinite(p.rescale) || p.rescale === 0) fail('rescale', 'a finite number other than 0', p.rescale)
  for (const [field, list] of Object.entries({ mean: p.mean, std: p.std })) {
    const right = Array.isArray(list) && list.length === p.channels && list.every((v) => Number.isFinite(v) && (field === 'mean' || v > 0))
    if (!right) fail(field, `${p.channels} ${field === 'mean' ? 'finite' : 'positive'} numbers, one a channel`, list)
  }
  const { resize, crop } = p
  if (resize !== null) {
    const right =
      resize?.mode === 'exact' ? isSide(resize.height) && isSide(resize.width) : resize?.mode === 'shortest' && isSide(resize.edge)
    if (!right) fail('resize', "null, { mode: 'exact', height, width } or { mode: 'shortest', edge }", resize)
  }
  if (crop !== null && !(isSide(crop?.height) && isSide(crop?.width) && (crop.rounding === undefined || crop.rounding === 'even'))) {
    fail('crop', "null or { height, width, rounding?: 'even' }", crop)
  }
  if (crop === null && resize?.mode === 'shortest') fail('crop', 'given when only the shorter side is resized', crop)
  const final = crop ?? (resize?.mode === 'exact' ? resize : p)
  if (final.height !== p.height || final.width !== p.width) {
    fail('height and width', `those of ${crop === null ? 'resize' : 'crop'} (${final.height} x ${final.width})`, [p.height, p.width])
  }
  return p
}
