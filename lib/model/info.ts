import { containerBytes } from '../checkpoint/container.js'
import { costOf } from '../graph/cost.js'
import { isStored, type Operand } from '../graph/operands.js'
import type { Code, Scheme, WeightCode } from '../graph/scheme.js'
import type { AnyPart, Preset } from '../quant/presets.js'
import type { ModelParts } from './model.js'
import { quantizationToJson } from './quantization.js'

export interface OperandInfo {
  /** The layer that reads it (for softmax outputs, makes it). */
  layer: string
  /** 'rounded': rounded to a code in registers, never stored, and part of no average (GELU and softmax inputs of full coverage). */
  operand: 'weight' | 'activation' | 'rounded'
  name: string
  /** 32 for a float. */
  bits: number
  family: 'float' | Code['family']
  /**
   * What a level is multiplied with (and with the factor of its column where full coverage gives an edge factors); with 'relative-softmax'
   * that of a softmax output is in units of the largest of each query; null for a float, and for a weight, which has a step for each row.
   */
  step: number | null
  /** The lowest and highest of its integers, both null for a float: a uniform code of `bits` bits has its zero at index -low. */
  low: number | null
  high: number | null
  /** All 2^bits integers where they are not consecutive, ascending; null elsewhere. */
  levels: number[] | null
  /** Of a softmax output: whether its codes are relative to the largest weight of each query, and divided by their sum. */
  relative: boolean
  /** Parameters of a weight; elements per image of an activation. */
  elements: number
  /**
   * Those among the elements that have 8 bits whatever `bits` is, and count as such in averages: the first row of each image, whose levels
   * are all of a byte. 0 where there are none.
   */
  fineElements: number
}

export interface ModelInfo {
  architecture: string
  quantized: boolean
  /** Whether the residual stream is stored as codes too ('full'), or only the operands of matrix products; null for a float model. */
  coverage: Scheme['coverage'] | null
  /** How its codes were chosen; null for a float model, and for files that do not say. */
  preset: Preset | null
  /** Parts of the preset that were left out. */
  without: AnyPart[]
  input: { channels: number; height: number; width: number }
  /** Number of classes. */
  labels: number
  /**
   * All numbers of weights, biases and other constants, without steps and codes; smoothing adds a few factors to those of the float model.
   */
  parameters: number
  /** Multiply-adds per image. */
  macs: number
  /**
   * Averages over the operands of matrix products, with full coverage over all that is stored: weights by parameters, activations by
   * elements per image. A float counts 32.
   */
  weightBits: number
  activationBits: number
  /** Size of the .fewbit file; for a float model, of its float32 numbers. */
  bytes: number
  operands: OperandInfo[]
}

export function describe(parts: ModelParts): ModelInfo {
  const { graph, scheme, preprocessing, labels, quantization = null } = parts
  const report = quantization && quantizationToJson(quantization)
  const cost = costOf(graph, scheme)
  const { channels, height, width } = preprocessing
  let parameters = cost.weightParameters
  for (const [name, { data }] of graph.constants) {
    if (!cost.operands.some((operand) => operand.kind === 'weight' && operand.name === name)) parameters += data.length
  }
  return {
    architecture: graph.architecture,
    quantized: scheme !== null,
    coverage: scheme?.coverage ?? null,
    preset: quantization?.preset ?? null,
    without: [...(quantization?.without ?? [])],
    input: { channels, height, width },
    labels: labels.length,
    parameters,
    macs: cost.macs,
    weightBits: cost.weightBits,
    activationBits: cost.activationBits,
    bytes: scheme === null ? 4 * parameters : containerBytes({ graph, scheme, preprocessing, labels, report }),
    operands: cost.operands.map((operand) => ({
      layer: operand.layer,
      operand: operand.kind === 'weight' ? 'weight' : isStored(operand) ? 'activation' : 'rounded',
      name: operand.name,
      bits: operand.bits,
      ...describeCode(scheme, operand),
      elements: operand.elements,
      fineElements: operand.fineElements ?? 0,
    })),
  }
}

type CodeInfo = Omit<OperandInfo, 'layer' | 'operand' | 'name' | 'bits' | 'elements' | 'fineElements'>

function describeCode(scheme: Scheme | null, { kind, name }: Operand): CodeInfo {
  if (kind === 'weight' && scheme) {
    const half = 2 ** ((scheme.weights.get(name) as WeightCode).bits - 1)
    return { family: 'uniform', step: null, low: -half, high: half - 1, levels: null, relative: false }
  }
  const code = scheme?.edges.get(name)
  if (!code) return { family: 'float', step: null, low: null, high: null, levels: null, relative: false }
  const { family, step, levels, relative = false } = code
  const [low, high] = [levels[0], levels[levels.length - 1]]
  return {
    family,
    step,
    low,
    high,
    relative,
    levels: high - low === levels.length - 1 ? null : [...levels],
  }
}
