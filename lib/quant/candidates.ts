import type { breather } from '../codes/breathe.js'
import { type Compensator, compensator } from '../codes/compensate.js'
import type { Observation } from '../codes/observation.js'
import type { Found } from '../codes/search.js'
import type { Graph } from '../graph/graph.js'
import type { WeightCode } from '../graph/scheme.js'
import { CodeSearch, encodeWeight } from './choose.js'
import type { RunOptions } from './observe.js'
import type { ActivationOperand, WeightOperand } from './operands.js'
import { tensorOf } from './operands.js'
import { NOTHING, type Without } from './parts.js'

/**
 * The best code of every operand at every width, found once each, layer by layer, on calibration data of the float model: what widths are
 * chosen by.
 */

export interface WeightCandidate {
  code: WeightCode
  /** [outputs] what the rounding of this weight adds to the mean output, to be subtracted from the bias. */
  meanError: Float32Array
}

/** Doubles of compensators (two matrices each) that are kept, 512 MiB; beyond, the oldest are made again when they are needed. */
const MOST_KEPT = 1 << 26

export class Candidates {
  private readonly searches = new Map<string, CodeSearch>()
  private readonly found = new Map<string, Found>()
  private readonly weights = new Map<string, WeightCandidate>()
  /** By edge that layers read. */
  private readonly compensators = new Map<string, Compensator>()

  constructor(
    private readonly graph: Graph,
    private readonly observations: Map<string, Observation>,
    /** E[x x^T] of what layers read, by edge, [width][width]. */
    readonly moments: Map<string, Float32Array>,
    private readonly breathe: ReturnType<typeof breather>,
    private readonly importance: (operand: ActivationOperand) => ArrayLike<number> | null,
    private readonly options: RunOptions,
    private readonly without: Without = NOTHING,
  ) {}

  async activation(operand: ActivationOperand, bits: number): Promise<Found> {
    const key = `${operand.name} ${bits}`
    let found = this.found.get(key)
    if (!found) {
      found = await (await this.searchOf(operand)).best(bits)
      this.found.set(key, found)
    }
    return found
  }

  /** Mean over sampled rows of the squared error of a row, columns weighed by their importance. */
  async loss(operand: ActivationOperand, bits: number): Promise<number> {
    const { loss } = await this.activation(operand, bits)
    const { samples, width } = this.observation(operand.name)
    return loss / (samples.length / width)
  }

  async weight(operand: WeightOperand, bits: number): Promise<WeightCandidate> {
    const key = `${operand.name} ${bits}`
    let candidate = this.weights.get(key)
    if (!candidate) {
      const tensor = tensorOf(this.graph, operand.name)
      const { mean, meanSquare } = this.observation(operand.input.name)
      const compensator = !this.without.has('compensation') && bits < 8 ? await this.compensator(operand.input) : null
      const { code, levels } = await encodeWeight(tensor, meanSquare, bits, compensator, this.breathe, this.without, this.options)
      const { outputs, inputs, steps } = code
      const meanError = new Float32Array(outputs)
      for (let i = 0; i < levels.length; i++) {
        const o = Math.floor(i / inputs)
        if (!this.without.has('bias')) meanError[o] += (levels[i] * steps[o] - tensor.data[i]) * mean[i % inputs]
      }
      candidate = { code, meanError }
      this.weights.set(key, candidate)
    }
    return candidate
  }

  /** Lets go of what codes are found with, which is made again for those that have not been found yet. */
  release(): void {
    this.searches.clear()
    this.compensators.clear()
  }

  private async compensator({ name, width }: ActivationOperand): Promise<Compensator> {
    let found = this.compensators.get(name)
    if (!found) {
      found = await compensator(Float64Array.from(this.moments.get(name) as Float32Array), width, this.breathe)
      this.compensators.set(name, found)
      this.forget()
    }
    return found
  }

  /** All but the newest compensators, as many as it takes. */
  private forget(): void {
    let kept = [...this.compensators.values()].reduce((sum, { factor }) => sum + 2 * factor.length, 0)
    for (const [oldest, { factor }] of this.compensators) {
      if (kept <= MOST_KEPT || this.compensators.size === 1) return
      this.compensators.delete(oldest)
      kept -= 2 * factor.length
    }
  }

  private observation(name: string): Observation {
    const observation = this.observations.get(name)
    if (!observation) throw new Error(`${name} was not observed`)
    return observation
  }

  private async searchOf(operand: ActivationOperand): Promise<CodeSearch> {
    let search = this.searches.get(operand.name)
    if (!search) {
      search = await CodeSearch.of(operand, this.observation(operand.name), this.importance(operand), this.breathe, this.without)
      this.searches.set(operand.name, search)
    }
    return search
  }
}
