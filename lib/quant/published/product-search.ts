import type { breather } from '../../codes/breathe.js'
import { Histogram } from '../../codes/histogram.js'
import type { Observation } from '../../codes/observation.js'
import { roundValues } from '../../codes/round.js'
import type { Tensor } from '../../graph/graph.js'
import type { Code, WeightCode } from '../../graph/scheme.js'
import { decodeWeight } from '../choose.js'
import type { RunOptions } from '../observe.js'
import { multiplyRows } from '../product.js'
import { encodeTensor, roundTensor, tensorSteps, uncorrelatedLoss } from './weights.js'

/**
 * The search of PTQ4ViT, on which both published systems sit: scales of an activation and of the weights that multiply it, by the error of
 * the products,
 *
 *   loss  =  sum_t sum_o h_o (W x_t - W' x'_t)_o^2,
 *
 * in alternating rounds, weights first. h is the Fisher information of the outputs. Candidates are sifted by what this error is for
 * uncorrelated inputs; of the few that are left the products are computed.
 */

/** A linear layer that reads the activation. */
export interface Layer {
  weight: Tensor
  /** h, [outputs] */
  outputWeights: ArrayLike<number>
  /** A code that stays as it is, or null. */
  given: WeightCode | null
}

export interface ProductSearchSettings {
  /** Fractions of the step that covers all weights. */
  scales: readonly number[]
  /** Codes for the activation. */
  codes: (bits: number, histogram: Histogram) => Code[]
  /** Candidates whose products are computed; 1: none are. */
  finalists: number
  rounds: number
}

/** Rows of the activation whose products are computed. */
const ROWS = 512

export class ProductSearch {
  /** What stands now; null: float. */
  code: Code | null = null
  readonly weights: (WeightCode | null)[]

  private constructor(
    /** [rows][width] */
    private readonly x: Float32Array,
    private readonly width: number,
    private readonly layers: Layer[],
    /** Products of the float values, [rows][outputs] by layer. */
    private readonly targets: Float32Array[],
    /** Of the activation, columns weighed by what the float weights make of their errors. */
    private readonly histogram: Histogram,
    private readonly settings: ProductSearchSettings,
    private readonly breathe: ReturnType<typeof breather>,
    private readonly options: RunOptions,
  ) {
    this.weights = layers.map(({ given }) => given)
  }

  static async of(
    observation: Observation,
    layers: Layer[],
    settings: ProductSearchSettings,
    breathe: ReturnType<typeof breather>,
    options: RunOptions,
  ): Promise<ProductSearch> {
    const { width } = observation
    const x = fewRows(observation)
    const targets: Float32Array[] = []
    const energy = new Float64Array(width)
    for (const { weight, outputWeights } of layers) {
      targets.push(await multiplyRows(x, weight, options))
      for (let i = 0; i < weight.data.length; i++) energy[i % width] += outputWeights[Math.floor(i / width)] * weight.data[i] ** 2
      await breathe()
    }
    const histogram = await Histogram.of(observation, energy, breathe)
    return new ProductSearch(x, width, layers, targets, histogram, settings, breathe, options)
  }

  /**
   * Codes for all, which stand then.
   *
   * @param weightBits of each layer
   */
  async search(activationBits: number, weightBits: number[]): Promise<void> {
    this.code = this.sift(activationBits)[0]
    for (let round = 0; round < this.settings.rounds; round++) {
      const before = JSON.stringify([this.code.step, this.weights.map((code) => code?.steps[0])])
      for (const [i, { given }] of this.layers.entries()) this.weights[i] = given ?? (await this.weight(i, weightBits[i]))
      this.code = await this.activation(activationBits)
      if (JSON.stringify([this.code.step, this.weights.map((code) => code?.steps[0])]) === before) return
    }
  }

  /** The best code of the activation, weights as they stand. */
  async activation(bits: number): Promise<Code> {
    const finalists = this.sift(bits)
    if (finalists.length === 1) return finalists[0]
    if (this.code?.bits === bits) finalists.push(this.code)
    const weights = this.layers.map((_, i) => this.decoded(i))
    return best(finalists, (code) => this.lossOf(code, weights))
  }

  /** The best code of a weight, the activation as it stands. */
  async weight(layer: number, bits: number): Promise<WeightCode> {
    const { weight, outputWeights } = this.layers[layer]
    const x = await this.rounded(this.code)
    const meanSquare = meanSquares(x, this.width)
    const sifted: { step: number; loss: number }[] = []
    for (const step of tensorSteps(weight, bits, this.settings.scales)) {
      sifted.push({ step, loss: uncorrelatedLoss(weight, step, bits, outputWeights, meanSquare) })
      await this.breathe()
    }
    const steps = fewest(sifted, this.settings.finalists).map(({ step }) => step)
    const current = this.weights[layer]
    if (steps.length > 1 && current?.bits === bits) steps.push(current.steps[0])
    const step = steps.length === 1 ? steps[0] : await best(steps, (s) => this.layerLoss(layer, x, roundTensor(weight, s, bits)))
    return encodeTensor(weight, step, bits)
  }

  /** Of what stands now, over {@link ROWS} rows at most. */
  async loss(): Promise<number> {
    return this.lossOf(
      this.code,
      this.layers.map((_, i) => this.decoded(i)),
    )
  }

  private sift(bits: number): Code[] {
    const codes = this.settings.codes(bits, this.histogram).map((code) => ({ code, loss: this.histogram.lossOf(code) }))
    return fewest(codes, this.settings.finalists).map(({ code }) => code)
  }

  private async lossOf(code: Code | null, weights: Tensor[]): Promise<number> {
    const x = await this.rounded(code)
    let loss = 0
    for (const [i, weight] of weights.entries()) loss += await this.layerLoss(i, x, weight)
    return loss
  }

  private async layerLoss(layer: number, x: Float32Array, weight: Tensor): Promise<number> {
    const { outputWeights } = this.layers[layer]
    const target = this.targets[layer]
    const outputs = outputWeights.length
    const product = await multiplyRows(x, weight, this.options)
    let loss = 0
    for (let i = 0; i < product.length; ) {
      for (let o = 0; o < outputs; o++, i++) loss += outputWeights[o] * (product[i] - target[i]) ** 2
    }
    await this.breathe()
    return loss
  }

  private decoded(layer: number): Tensor {
    const code = this.weights[layer]
    return code ? decodeWeight(code) : this.layers[layer].weight
  }

  private async rounded(code: Code | null): Promise<Float32Array> {
    if (!code) return this.x
    const x = this.x.slice()
    await roundValues(x, code, this.width, this.breathe)
    return x
  }
}

function fewRows({ samples, width }: Observation): Float32Array {
  const rows = samples.length / width
  const kept = Math.min(rows, ROWS)
  const x = new Float32Array(kept * width)
  for (let t = 0; t < kept; t++) {
    const from = Math.floor((t * rows) / kept) * width
    x.set(samples.subarray(from, from + width), t * width)
  }
  return x
}

function meanSquares(x: Float32Array, width: number): Float64Array {
  const sums = new Float64Array(width)
  for (let i = 0; i < x.length; i++) sums[i % width] += (x[i] * x[i] * width) / x.length
  return sums
}

/** The `count` of least loss, the best first; of equals the earlier. */
function fewest<T extends { loss: number }>(candidates: T[], count: number): T[] {
  return [...candidates].sort((a, b) => a.loss - b.loss).slice(0, count)
}

async function best<T>(candidates: T[], loss: (candidate: T) => Promise<number>): Promise<T> {
  let [found, least] = [candidates[0], await loss(candidates[0])]
  for (const candidate of candidates.slice(1)) {
    const l = await loss(candidate)
    if (l < least) [found, least] = [candidate, l]
  }
  return found
}
