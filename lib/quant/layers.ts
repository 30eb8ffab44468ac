import { breather } from '../codes/breathe.js'
import { roundValues } from '../codes/round.js'
import { stepsOf } from '../graph/factors.js'
import { type Edge, type Graph, inputsOf, type Node, type NodeOf, type Tensor } from '../graph/graph.js'
import { type OperandKind, operandsOf, storageOf } from '../graph/operands.js'
import { type Code, logitsOf, probabilitiesOf, type Scheme, type WeightCode } from '../graph/scheme.js'
import { probabilitiesShape } from '../graph/windows.js'
import { decodeWeight } from './choose.js'
import { codedAttention } from './coded-attention.js'
import { evaluateNode, type Values } from './evaluate.js'
import type { Calibration, RunOptions } from './observe.js'
import { tensorOf } from './operands.js'
import { type CodeRange, Rounding, type RoundingReport, ratio } from './rounding.js'

/**
 * What quantization does to each layer, with all errors of the layers before it: a float graph and its quantized version are computed side
 * by side, node after node. The kernels for codes leave nothing to look at between two layers of a plan, so the quantized side is computed
 * in float on what the codes stand for; that differs from what the kernels give by the rounding of float sums alone.
 */

export interface OperandReport extends RoundingReport {
  kind: OperandKind
  /** A weight tensor, an edge, or what attention keeps in registers. */
  name: string
  bits: number
  family: Code['family']
  /** Whether a softmax is coded relative to the largest of each query; its values and errors are then in units of that. */
  relative: boolean
  /** Whether the first row of each image has all levels of a byte ({@link Code.fineFirst}). */
  fineFirst: boolean
}

export interface LayerReport {
  name: string
  op: Node['op']
  /**
   * Of the layer's output, as what reads it gets it: the root mean square of the difference to the float model over that of the float
   * model. Infinite where only the float model gives zeros.
   */
  error: number
  /** Signal to noise: -20 log10(error); infinite without an error. */
  decibels: number
  /** What it reads as codes (a softmax it makes itself), its weight first. */
  operands: OperandReport[]
}

/**
 * @param float the graph whose weights were quantized, smoothed and rotated as they were: its edges have the names and the meaning of the
 *   quantized one's
 * @param calibration pixels of a few images; all edges between two nodes that are far apart are kept in memory for all images
 * @returns every node but views (rows), in the order of the graph
 */
export async function measureLayers(
  float: Graph,
  quantized: { graph: Graph; scheme: Scheme },
  calibration: Calibration,
  options: RunOptions,
): Promise<LayerReport[]> {
  const comparison = new Comparison(float, quantized.graph, quantized.scheme, calibration, options)
  const layers: LayerReport[] = []
  for (const [i, node] of quantized.graph.nodes.entries()) {
    const layer = await comparison.next(node)
    if (node.op !== 'row' && node.op !== 'slice') layers.push(layer)
    options.onProgress?.(i + 1, quantized.graph.nodes.length)
  }
  return layers
}

class Comparison {
  private readonly exact = new Map<string, Values>()
  private readonly coded = new Map<string, Values>()
  /** By operand, the weights of the current node among them. */
  private readonly reports = new Map<string, OperandReport>()
  private readonly kinds: Map<string, OperandKind>
  private readonly stored: ReturnType<typeof storageOf>
  private readonly lastReader: Map<string, string>
  private readonly breathe: ReturnType<typeof breather>

  constructor(
    private readonly float: Graph,
    private readonly graph: Graph,
    private readonly scheme: Scheme,
    private readonly calibration: Calibration,
    private readonly options: RunOptions,
  ) {
    this.breathe = breather(options.signal)
    this.stored = storageOf(graph)
    this.kinds = new Map(operandsOf(graph, scheme).map(({ name, kind }) => [name, kind]))
    this.lastReader = new Map(graph.nodes.flatMap((node) => inputsOf(node).map((edge) => [edge, node.name] as const)))
    for (const side of [this.exact, this.coded]) side.set(graph.input, calibration.pixels)
  }

  async next(node: Node): Promise<LayerReport> {
    const original = this.float.nodes.find(({ name }) => name === node.name)
    if (!original) throw new Error(`the float graph has no node ${node.name}`)
    const exact = await this.evaluate(this.float, original, this.exact)
    const coded = await this.evaluateCoded(node)
    this.exact.set(node.output, exact)
    this.coded.set(node.output, coded)
    const code = this.scheme.edges.get(node.output)
    if (code) await this.round(node.output, coded, code)
    const error = await this.errorOf(exact, coded)
    const operands = this.operandsOf(node)
    for (const edge of inputsOf(node)) {
      if (this.lastReader.get(edge) !== node.name) continue
      for (const side of [this.exact, this.coded]) side.delete(edge)
    }
    return { name: node.name, op: node.op, error, decibels: -20 * Math.log10(error), operands }
  }

  private evaluate(graph: Graph, node: Node, values: Map<string, Values>): Promise<Values> {
    const { threads, signal } = this.options
    return evaluateNode(graph, node, (edge) => values.get(edge) as Values, this.calibration.images, this.breathe, { threads, signal })
  }

  private async evaluateCoded(node: Node): Promise<Values> {
    if (node.op === 'attention' && this.scheme.edges.has(probabilitiesOf(node))) return this.attention(node)
    if (node.op !== 'linear') return this.evaluate(this.graph, node, this.coded)
    const weight = await this.decode(node, this.scheme.weights.get(node.weight) as WeightCode)
    return this.evaluate({ ...this.graph, constants: new Map(this.graph.constants).set(node.weight, weight) }, node, this.coded)
  }

  private async attention(node: NodeOf<'attention'>): Promise<Values> {
    const names = { logits: logitsOf(node), probabilities: probabilitiesOf(node) }
    const probabilities = this.scheme.edges.get(names.probabilities) as Code
    const logits = (this.scheme.coverage === 'full' && this.scheme.edges.get(names.logits)) || null
    const [q, k, v] = inputsOf(node).map((edge) => this.coded.get(edge) as Values)
    const { rows, width } = probabilitiesShape(node, this.graph.edges.get(node.output) as { rows: number })
    const expected = this.calibration.images * rows * width
    const roundings = { logits: new Rounding(expected), probabilities: new Rounding(expected) }
    const seen = (what: keyof typeof roundings, before: Values, after: Values, code: Code) =>
      roundings[what].add(before, after, rangeOf(code, 1), this.breathe)
    const values = await codedAttention(this.graph, node, [q, k, v], { logits, probabilities }, seen, this.breathe)
    if (logits) this.keep(names.logits, 'logits', logits, roundings.logits)
    this.keep(names.probabilities, 'probabilities', probabilities, roundings.probabilities)
    return values
  }

  /** Rounds the values of an edge in place. */
  private async round(edge: string, values: Values, code: Code): Promise<void> {
    const { rows, width } = this.graph.edges.get(edge) as { rows: number; width: number }
    const before = values.slice()
    await roundValues(values, code, width, this.breathe, rows)
    const rounding = new Rounding(values.length)
    for (const { from, to, range } of rangesOf(code, { rows, width }, values.length)) {
      await rounding.add(before.subarray(from, to), values.subarray(from, to), range, this.breathe)
    }
    this.keep(edge, this.kinds.get(edge) as OperandKind, code, rounding)
  }

  private async decode({ weight: name }: NodeOf<'linear'>, code: WeightCode): Promise<Tensor> {
    const { bits, inputs, steps } = code
    const decoded = decodeWeight(code)
    const rounding = new Rounding(decoded.data.length)
    const half = 2 ** (bits - 1)
    await rounding.add(tensorOf(this.float, name).data, decoded.data, { low: -half, high: half - 1, steps, run: inputs }, this.breathe)
    this.keep(name, 'weight', { bits, family: 'uniform' }, rounding)
    return decoded
  }

  private keep(name: string, kind: OperandKind, code: CodeOfReport, rounding: Rounding): void {
    const { bits, family, relative = false, fineFirst } = code
    this.reports.set(name, { kind, name, bits, family, relative, fineFirst: fineFirst !== undefined, ...rounding.report() })
  }

  private operandsOf(node: Node): OperandReport[] {
    const names = inputsOf(node).map((edge) => this.stored(edge).edge)
    if (node.op === 'linear') names.unshift(node.weight)
    if (node.op === 'attention') names.push(logitsOf(node), probabilitiesOf(node))
    return [...new Set(names)].flatMap((name) => this.reports.get(name) ?? [])
  }

  private async errorOf(exact: Values, coded: Values): Promise<number> {
    let [errors, squares] = [0, 0]
    for (let i = 0; i < exact.length; i++) {
      errors += (coded[i] - exact[i]) ** 2
      squares += exact[i] ** 2
      if (i % 8192 === 0) await this.breathe()
    }
    return ratio(errors, squares)
  }
}

/** Stretches of values that have one range. */
function rangesOf(code: Code, { rows, width }: Edge, length: number): { from: number; to: number; range: CodeRange }[] {
  const range = rangeOf(code, width)
  const { fineFirst } = code
  if (fineFirst === undefined) return [{ from: 0, to: length, range }]
  const fine = { ...range, low: fineFirst, high: fineFirst + 255 }
  const size = rows * width
  return Array.from({ length: length / size }, (_, image) => image * size).flatMap((from) => [
    { from, to: from + width, range: fine },
    { from: from + width, to: from + size, range },
  ])
}

type CodeOfReport = Pick<Code, 'bits' | 'family' | 'relative' | 'fineFirst'>

const rangeOf = (code: Code, width: number): CodeRange => ({
  low: code.levels[0],
  high: code.levels[code.levels.length - 1],
  steps: code.factors ? stepsOf(code, width) : Float32Array.of(code.step),
  run: 1,
})
