import type { breather } from '../codes/breathe.js'
import { type Compensator, compensator } from '../codes/compensate.js'
import { Histogram } from '../codes/histogram.js'
import type { Observation } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import type { Code, WeightCode } from '../graph/scheme.js'
import { encodeWeight, searchCode } from './choose.js'
import { secondMoments } from './moments.js'
import type { ActivationOperand, WeightOperand } from './operands.js'
import { tensorOf } from './operands.js'

/**
 * The best code of every operand at every width, found once each, layer by layer, on calibration data of the float model: what widths are chosen by.
 */

export interface WeightCandidate {
  code: WeightCode
  /** [outputs] what the rounding of this weight adds to the mean output, to be subtracted from the bias. */
  meanError: Float32Array
}

/** Doubles of compensators that are kept, 512 MiB; beyond, the oldest are made again when they are needed. */
const MOST_KEPT = 1 << 26

export class Candidates {
  private readonly histograms = new Map<string, Histogram>()
  private readonly codes = new Map<string, Code>()
  private readonly weights = new Map<string, WeightCandidate>()
  private readonly compensators = new Map<string, Compensator>()

  constructor(
    private readonly graph: Graph,
    private readonly observations: Map<string, Observation>,
    private readonly breathe: ReturnType<typeof breather>,
    private readonly compensate: boolean,
    private readonly importance: (operand: ActivationOperand) => ArrayLike<number> | null,
  ) {}

  async activation(operand: ActivationOperand, bits: number): Promise<Code> {
    const key = `${operand.name} ${bits}`
    let code = this.codes.get(key)
    if (!code) {
      await this.breathe()
      code = searchCode(operand, await this.histogramOf(operand), bits)
      this.codes.set(key, code)
    }
    return code
  }

  async weight(operand: WeightOperand, bits: number): Promise<WeightCandidate> {
    const key = `${operand.name} ${bits}`
    let candidate = this.weights.get(key)
    if (!candidate) {
      const tensor = tensorOf(this.graph, operand.name)
      const { mean, meanSquare } = this.observation(operand.input.name)
      const compensator = this.compensate && bits < 8 ? await this.compensator(operand.input) : null
      const { code, levels } = await encodeWeight(tensor, meanSquare, bits, compensator, this.breathe)
      const { outputs, inputs, steps } = code
      const meanError = new Float32Array(outputs)
      for (let i = 0; i < levels.length; i++) {
        const o = Math.floor(i / inputs)
        meanError[o] += (levels[i] * steps[o] - tensor.data[i]) * mean[i % inputs]
      }
      candidate = { code, meanError }
      this.weights.set(key, candidate)
    }
    return candidate
  }

  private async compensator({ name, width }: ActivationOperand): Promise<Compensator> {
    let known = this.compensators.get(name)
    if (!known) {
      const { samples } = this.observation(name)
      known = await compensator(await secondMoments(samples, width, null, this.breathe), width, this.breathe)
      this.compensators.set(name, known)
      let kept = [...this.compensators.values()].reduce((sum, { factor }) => sum + factor.length, 0)
      for (const [oldest, { factor }] of this.compensators) {
        if (kept <= MOST_KEPT || oldest === name) break
        this.compensators.delete(oldest)
        kept -= factor.length
      }
    }
    return known
  }

  private observation(name: string): Observation {
    const observation = this.observations.get(name)
    if (!observation) throw new Error(`${name} was not observed`)
    return observation
  }

  private async histogramOf(operand: ActivationOperand): Promise<Histogram> {
    let histogram = this.histograms.get(operand.name)
    if (!histogram) {
      histogram = await Histogram.of(this.observation(operand.name), this.importance(operand), this.breathe)
      this.histograms.set(operand.name, histogram)
    }
    return histogram
  }
}
