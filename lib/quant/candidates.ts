import type { breather } from '../codes/breathe.js'
import { type Compensator, compensator, encodeRowCompensated } from '../codes/compensate.js'
import { Histogram } from '../codes/histogram.js'
import type { Observation } from '../codes/observation.js'
import { searchCodebook, searchSymmetric, searchTwoScale, searchUniform } from '../codes/search.js'
import { encodeRow, searchRow } from '../codes/weights.js'
import type { Graph } from '../graph/graph.js'
import type { Code, WeightCode } from '../graph/scheme.js'
import { packWeight } from '../runtime/blobs.js'
import { secondMoments } from './moments.js'
import { type ActivationOperand, tensorOf, type WeightOperand } from './operands.js'

/**
 * The best code of every operand at every width, found once each, layer by layer, on calibration data of the float model.
 */

export interface WeightCandidate {
  code: WeightCode
  /** [outputs] what the rounding of this weight adds to the mean output, to be subtracted from the bias. */
  meanError: Float32Array
}

export class Candidates {
  private readonly histograms = new Map<string, Histogram>()
  private readonly codes = new Map<string, Code>()
  private readonly weights = new Map<string, WeightCandidate>()
  private readonly factors = new Map<string, Compensator>()

  constructor(
    private readonly graph: Graph,
    private readonly observations: Map<string, Observation>,
    private readonly breathe: ReturnType<typeof breather>,
    private readonly compensate: boolean,
  ) {}

  /** Uniform codes with a searched zero point; for softmax and GELU V-2SF where it is better. */
  async activation(operand: ActivationOperand, bits: number): Promise<Code> {
    const key = `${operand.name} ${bits}`
    let code = this.codes.get(key)
    if (!code) {
      await this.breathe()
      const histogram = this.histogramOf(operand)
      const twoScale = operand.kind === 'probabilities' || operand.kind === 'gelu output'
      const found = twoScale ? searchTwoScale(histogram, bits) : searchUniform(histogram, bits)
      // Attention reads queries, keys and values as signed bytes: a code of 0..255 would not fit.
      const mustBeSigned = ['query', 'key', 'value'].includes(operand.kind) && histogram.min === 0
      code = mustBeSigned ? searchSymmetric(histogram, bits).code : searchCodebook(histogram, bits, found).code
      this.codes.set(key, code)
    }
    return code
  }

  async weight(operand: WeightOperand, bits: number): Promise<WeightCandidate> {
    const key = `${operand.name} ${bits}`
    const known = this.weights.get(key)
    if (known) return known
    const { shape, data } = tensorOf(this.graph, operand.name)
    const [outputs, inputs] = shape
    const { mean, meanSquare } = this.observation(operand.input.name)
    const levels = new Int8Array(data.length)
    const steps = new Float32Array(outputs)
    const meanError = new Float32Array(outputs)
    const factor = this.compensate && bits < 8 ? await this.factor(operand.input) : null
    for (let o = 0; o < outputs; o++) {
      const row = data.subarray(o * inputs, (o + 1) * inputs)
      const { step } = searchRow(row, meanSquare, bits)
      const target = levels.subarray(o * inputs, (o + 1) * inputs)
      if (factor) encodeRowCompensated(row, step, bits, factor, target)
      else encodeRow(row, step, bits, target)
      steps[o] = step
      for (let i = 0; i < inputs; i++) meanError[o] += (target[i] * step - row[i]) * mean[i]
      await this.breathe()
    }
    const packed = packWeight(levels, outputs, inputs, bits)
    const candidate = { code: { bits, outputs, inputs, packed, steps }, meanError }
    this.weights.set(key, candidate)
    return candidate
  }

  private async factor({ name, width }: ActivationOperand): Promise<Compensator> {
    let factor = this.factors.get(name)
    if (!factor) {
      const { samples } = this.observation(name)
      factor = await compensator(await secondMoments(samples, width, null, this.breathe), width, this.breathe)
      this.factors.set(name, factor)
    }
    return factor
  }

  private observation(name: string): Observation {
    const observation = this.observations.get(name)
    if (!observation) throw new Error(`${name} was not observed`)
    return observation
  }

  private histogramOf(operand: ActivationOperand): Histogram {
    let histogram = this.histograms.get(operand.name)
    if (!histogram) {
      histogram = new Histogram(this.observation(operand.name), this.importance(operand))
      this.histograms.set(operand.name, histogram)
    }
    return histogram
  }

  /**
   * How much a squared error of each column weighs in the output of the product that reads it: the squared norm of what multiplies it, other operand
   * unchanged and errors uncorrelated. Null: all columns alike.
   */
  private importance(operand: ActivationOperand): ArrayLike<number> | null {
    const { kind, attention, width } = operand
    if (attention && kind === 'query') return this.observation(attention.k).meanSquare
    if (attention && kind === 'key') return this.observation(attention.q).meanSquare
    if (operand.readers.length === 0) return null
    const energy = new Float64Array(width)
    for (const reader of operand.readers) {
      const { data } = tensorOf(this.graph, reader.weight)
      for (let i = 0; i < data.length; i++) energy[i % width] += data[i] * data[i]
    }
    return energy
  }
}
