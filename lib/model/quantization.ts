import type { NarrowStep } from '../codes/narrow.js'
import { type AnyPart, type Preset, partsOf } from '../quant/presets.js'
import { PRESETS } from '../quant/published/parts.js'
import { isAmount, isObject, type JsonObject } from '../values.js'
import type { FloorReached } from './floor.js'

/** How a quantized model came to be. All but the warnings is kept in its file. */
export interface Quantization {
  preset: Preset
  /** Parts of the preset that were left out, those among them that the allocation 'even' does without. */
  without: AnyPart[]
  /** Mean KL divergence to the float model on the calibration images, nats. */
  divergence: number
  /** Standard deviation of that divergence from image to image, nats; 0 for a single image. */
  spread: number
  /** What the accuracy floor measured; null when none was asked for. */
  floor: FloorReached | null
  /**
   * With 'mptq' and an average, how Greedy MP came by the widths: in order which unit (a weight, or an edge by its name) lost which bit,
   * and after each step the divergence, nats on a few of the calibration images, and the averages. Empty otherwise.
   */
  trajectory: NarrowStep[]
  warnings: string[]
}

export function quantizationToJson({ warnings: _, ...kept }: Quantization): JsonObject {
  return kept
}

/** @returns null for what another version of the package wrote, or none */
export function quantizationFromJson(json: unknown): Quantization | null {
  if (!isObject(json)) return null
  const { preset, without = [], divergence, spread, floor, trajectory = [] } = json
  if (preset !== 'best' && !Object.hasOwn(PRESETS, String(preset))) return null
  if (!isAmount(divergence) || !isAmount(spread)) return null
  if (!Array.isArray(without) || !without.every((part) => partsOf(preset as Preset).includes(part))) return null
  if (!isTrajectory(trajectory)) return null
  return { preset: preset as Preset, without, divergence, spread, floor: floorFromJson(floor), trajectory, warnings: [] }
}

export const isTrajectory = (json: unknown): json is NarrowStep[] => Array.isArray(json) && json.every(isStep)

const isStep = (json: unknown): boolean =>
  isObject(json) &&
  typeof json.unit === 'string' &&
  [json.from, json.to, json.divergence, json.weightBits, json.activationBits].every(Number.isFinite)

function floorFromJson(json: unknown): FloorReached | null {
  if (!isObject(json)) return null
  const { maxDrop, averageBits, drop, interval, images, labelled } = json
  const numbers = [maxDrop, averageBits, drop, images, ...(Array.isArray(interval) ? interval : [])]
  if (numbers.length !== 6 || !numbers.every(Number.isFinite) || typeof labelled !== 'boolean') return null
  return { maxDrop, averageBits, drop, interval, images, labelled } as FloorReached
}
