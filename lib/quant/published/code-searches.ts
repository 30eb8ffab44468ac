import type { breather } from '../../codes/breathe.js'
import { Histogram } from '../../codes/histogram.js'
import type { Observation } from '../../codes/observation.js'
import { searchOutliers } from '../../codes/outliers.js'
import { type Family, familyCodes } from '../../codes/published.js'
import { StreamLoss } from '../../codes/stream-loss.js'
import type { Graph } from '../../graph/graph.js'
import { isStored } from '../../graph/operands.js'
import type { Code, Scheme, WeightCode } from '../../graph/scheme.js'
import type { Unit } from '../assemble.js'
import { encodeWeight } from '../choose.js'
import type { RunOptions } from '../observe.js'
import { type ActivationOperand, type Operands, tensorOf, type WeightOperand } from '../operands.js'
import { rowWeights } from '../row-weights.js'
import { readsImage } from '../search.js'
import type { OutputInformation } from './output-information.js'
import { type PublishedParts, scalesOf } from './parts.js'
import { type Layer, ProductSearch } from './product-search.js'
import { encodeTensor, tensorSteps } from './weights.js'

/**
 * The searches of all operands of a model, with the parts of a published preset that are switched on.
 *
 * Inputs of linear layers and their weights are searched together, by the error of the products. The operands of attention, and with full
 * coverage the residual stream and what GELU and softmax read, are searched alone, by their own squared error weighed by their own Fisher
 * information.
 */

export interface Widths {
  weight: number
  activation: number
}

/** The width of the patch embedding, of its input, and of what is never stored. */
export const FIXED_BITS = 8
/** Of a search of scales. */
const FINALISTS = 6
const ROUNDS = 3

export const isFixed = (graph: Graph, unit: Unit): boolean => !isStored(unit) || readsImage(graph, unit)

export class CodeSearches {
  readonly units: Unit[]
  private readonly products = new Map<string, ProductSearch>()
  private readonly histograms = new Map<string, Histogram>()

  constructor(
    private readonly graph: Graph,
    private readonly operands: Operands,
    private readonly observations: Map<string, Observation>,
    private readonly information: OutputInformation,
    private readonly parts: PublishedParts,
    private readonly breathe: ReturnType<typeof breather>,
    private readonly options: RunOptions,
  ) {
    this.units = [...operands.weights, ...operands.activations]
  }

  /** Codes for all operands, searched together. */
  async scheme(
    coverage: Scheme['coverage'],
    bitsOf: (unit: Unit) => number,
    report: (done: number, total: number) => void = () => {},
  ): Promise<Scheme> {
    const scheme: Scheme = { coverage, weights: new Map(), edges: new Map() }
    const { activations, weights } = this.operands
    for (const [i, operand] of activations.entries()) {
      const bits = isFixed(this.graph, operand) ? FIXED_BITS : bitsOf(operand)
      if (operand.readers.length > 0) {
        const product = await this.productOf(operand)
        const read = operand.readers.map((reader) => weights.find(({ node }) => node === reader) as WeightOperand)
        await product.search(bits, read.map(bitsOf))
        scheme.edges.set(operand.name, product.code as Code)
        operand.readers.forEach(({ weight }, l) => scheme.weights.set(weight, product.weights[l] as WeightCode))
      } else {
        scheme.edges.set(operand.name, await this.alone(operand, bits))
      }
      report(i + 1, activations.length)
    }
    if (weights.some(({ name }) => !scheme.weights.has(name))) throw new Error('a weight has no input')
    return scheme
  }

  /** A code for one operand, all others as they were chosen. */
  async search(unit: Unit, bits: number): Promise<Code | WeightCode> {
    if (unit.kind === 'weight') return (await this.productOf(unit.input)).weight(this.layerOf(unit), bits)
    return unit.readers.length > 0 ? (await this.productOf(unit)).activation(bits) : this.alone(unit, bits)
  }

  /** What later searches take for chosen. */
  choose(unit: Unit, code: Code | WeightCode): void {
    const product = this.products.get(unit.kind === 'weight' ? unit.input.name : unit.name)
    if (!product) return
    if (unit.kind === 'weight') product.weights[this.layerOf(unit)] = code as WeightCode
    else product.code = code as Code
  }

  private layerOf(unit: WeightOperand): number {
    return unit.input.readers.indexOf(unit.node)
  }

  private async productOf(operand: ActivationOperand): Promise<ProductSearch> {
    const known = this.products.get(operand.name) ?? (await this.makeProduct(operand))
    this.products.set(operand.name, known)
    return known
  }

  private async makeProduct(operand: ActivationOperand): Promise<ProductSearch> {
    const observation = this.observation(operand.name)
    const layers: Layer[] = []
    for (const { weight: name, output } of operand.readers) {
      const weight = tensorOf(this.graph, name)
      const given = readsImage(this.graph, operand) ? await this.patchWeight(operand, name) : null
      layers.push({ weight, outputWeights: this.information(output, weight.shape[0]), given })
    }
    const scales = scalesOf(this.parts)
    const codes = (bits: number, range: Histogram) => this.codesOf(operand, bits, range)
    const settings = this.parts.has('search')
      ? { scales, codes, finalists: FINALISTS, rounds: ROUNDS }
      : { scales, codes, finalists: 1, rounds: 1 }
    return ProductSearch.of(observation, layers, settings, this.breathe, this.options)
  }

  private async patchWeight({ name }: ActivationOperand, weight: string): Promise<WeightCode> {
    const tensor = tensorOf(this.graph, weight)
    if (!this.parts.has('search')) return encodeTensor(tensor, tensorSteps(tensor, FIXED_BITS, [1])[0], FIXED_BITS)
    return (await encodeWeight(tensor, this.observation(name).meanSquare, FIXED_BITS, null, this.breathe)).code
  }

  private async alone(operand: ActivationOperand, bits: number): Promise<Code> {
    const { name, kind, width } = operand
    const observation = this.observation(name)
    const importance = kind === 'logits' ? null : this.information(name, width)
    let histogram = this.histograms.get(name)
    if (!histogram) {
      histogram = await Histogram.of(observation, importance, this.breathe, rowWeights(operand, observation))
      this.histograms.set(name, histogram)
    }
    let best: Code | null = null
    let least = Number.POSITIVE_INFINITY
    for (const code of this.codesOf(operand, bits, histogram)) {
      const loss = histogram.lossOf(code)
      if (best === null || loss < least) [best, least] = [code, loss]
    }
    await this.breathe()
    if (best === null) throw new Error(`${name} has no candidates`)
    if (!operand.factors || !this.parts.has('o2sf')) return best
    const losses = new StreamLoss(observation, importance, operand.elements / operand.width, this.breathe)
    const outliers = await searchOutliers(observation, bits, losses)
    return outliers.loss < (await losses.of(best)) ? outliers.code : best
  }

  private codesOf({ kind }: ActivationOperand, bits: number, range: { min: number; max: number }): Code[] {
    return familyCodes(this.familyOf(kind), bits, range, scalesOf(this.parts), this.parts.has('opt-m') ? 'searched' : 'rule')
  }

  private familyOf(kind: ActivationOperand['kind']): Family {
    const twoScale = this.parts.has('v2sf')
    if (kind === 'probabilities') return twoScale ? 'softmax' : 'unsigned'
    return kind === 'gelu output' && twoScale ? 'gelu' : 'symmetric'
  }

  private observation(name: string): Observation {
    const observation = this.observations.get(name)
    if (!observation) throw new Error(`${name} was not observed`)
    return observation
  }
}
