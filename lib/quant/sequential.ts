import type { breather } from '../codes/breathe.js'
import { type Compensator, compensator } from '../codes/compensate.js'
import { addRow, everyNthRow, type Observation } from '../codes/observation.js'
import { roundValues } from '../codes/round.js'
import { type Graph, inputsOf, type Node } from '../graph/graph.js'
import { storageOf } from '../graph/operands.js'
import { FINE_BITS, logitsOf, probabilitiesOf, type Scheme } from '../graph/scheme.js'
import { correctBias, drift } from './bias.js'
import { CodeSearch, encodeWeight } from './choose.js'
import { evaluateNode, type Values } from './evaluate.js'
import { columnMeans, type JointMoments, jointMoments, meanOwn } from './moments.js'
import { applyAffine, fitAffine } from './norms.js'
import { type Calibration, type RunOptions, SAMPLE_ROWS, sampleStride } from './observe.js'
import { type ActivationOperand, type LinearNode, type Operands, tensorOf } from './operands.js'
import type { Without } from './parts.js'
import { type Refit, refit } from './refit.js'
import type { RowSensitivity } from './row-sensitivity.js'
import { rowsOf, type StreamRows, systematic } from './stream-rows.js'

/** What is settled before the sequence. */
export interface Choice {
  coverage: Scheme['coverage']
  bits(operand: string): number
  without: Without
  /** Of errors of the columns of an edge; null: all alike. */
  importance(operand: ActivationOperand): ArrayLike<number> | null
  streamRows: StreamRows
  rowSensitivity: RowSensitivity
}

/**
 * Codes for widths that are chosen: node after node, each on what the quantized nodes before it make of the calibration images, so that a
 * layer's code and the compensation of its weights know the errors which reach it, and its weights can make up for some of them.
 *
 * What softmax reads and makes is the exception: its codes are found on the float model, and it passes through here without being rounded.
 */
export async function quantizeInSequence(
  float: Graph,
  operands: Operands,
  observations: Map<string, Observation>,
  choice: Choice,
  calibration: Calibration,
  breathe: ReturnType<typeof breather>,
  options: RunOptions,
): Promise<{ graph: Graph; scheme: Scheme }> {
  const sequence = new Sequence(float, operands, observations, choice, calibration, breathe, options)
  for (const [i, node] of float.nodes.entries()) {
    await sequence.next(node)
    options.onProgress?.(i + 1, float.nodes.length)
  }
  return { graph: sequence.graph, scheme: sequence.scheme }
}

/** Means and covariances of the columns of an edge after rounding, and what weights can do about its errors. */
interface Rounded {
  mean: Float64Array
  /** Of its mean from that in the float model. */
  drift: Float64Array
  moments: Float64Array
  refit: Refit | null
  /** Made for the first layer that wants it, and the same for all that read the edge. */
  compensator?: Compensator
}

/** Covariances are taken from all rows, or from every nth when there are more than this. */
const MOMENT_ROWS = 1 << 15

class Sequence {
  readonly graph: Graph
  readonly scheme: Scheme
  /** Float constants as the quantized ones stand for them. */
  private readonly decoded: Graph
  private readonly values = new Map<string, Values>()
  /** What the float model has in their place. */
  private readonly exact = new Map<string, Values>()
  private readonly rounded = new Map<string, Rounded>()
  private readonly activations: Map<string, ActivationOperand>
  private readonly stored: ReturnType<typeof storageOf>
  private readonly lastReader: Map<string, string>

  constructor(
    private readonly float: Graph,
    operands: Operands,
    private readonly observations: Map<string, Observation>,
    private readonly choice: Choice,
    private readonly calibration: Calibration,
    private readonly breathe: ReturnType<typeof breather>,
    private readonly options: RunOptions,
  ) {
    this.scheme = { coverage: choice.coverage, weights: new Map(), edges: new Map() }
    this.graph = { ...float, nodes: float.nodes.map((node) => ({ ...node })), constants: new Map(float.constants) }
    this.decoded = { ...float, constants: new Map(float.constants) }
    this.activations = new Map(operands.activations.map((operand) => [operand.name, operand]))
    this.stored = storageOf(float)
    this.lastReader = new Map(float.nodes.flatMap((node) => inputsOf(node).map((edge) => [edge, node.name] as const)))
    for (const side of [this.values, this.exact]) side.set(float.input, calibration.pixels)
  }

  async next(node: Node): Promise<void> {
    // Together, so that threads have the float node to compute while codes are searched here.
    const [uncorrected, exact] = await Promise.all([this.evaluateQuantized(node), this.evaluate(this.float, node, this.exact)])
    const values = await this.correctNorm(node, exact, uncorrected)
    this.exact.set(node.output, exact)
    for (const edge of inputsOf(node)) {
      if (this.lastReader.get(edge) !== node.name) continue
      for (const side of [this.values, this.exact]) side.delete(edge)
    }
    this.values.set(node.output, values)
    if (node.op === 'attention') for (const name of [logitsOf(node), probabilitiesOf(node)]) await this.chooseObserved(name)
    const operand = this.activations.get(node.output)
    if (operand) await this.round(operand, values)
  }

  private async evaluateQuantized(node: Node): Promise<Values> {
    if (node.op !== 'linear') return this.evaluate(this.decoded, node, this.values)
    await this.quantizeLinear(node)
    return this.evaluate(this.decoded, this.graph.nodes.find(({ name }) => name === node.name) as LinearNode, this.values)
  }

  /** @returns what the node makes with its new constants, where it is a LayerNorm */
  private async correctNorm(node: Node, exact: Values, values: Values): Promise<Values> {
    if (node.op !== 'layernorm' || this.choice.without.has('norms')) return values
    const { width } = this.float.edges.get(node.output) as { width: number }
    const affine = await fitAffine(exact, values, width, this.calibration.images, this.breathe)
    applyAffine([this.graph, this.decoded], node, affine)
    return this.evaluate(this.decoded, node, this.values)
  }

  private evaluate(graph: Graph, node: Node, values: Map<string, Values>): Promise<Values> {
    return evaluateNode(graph, node, (edge) => values.get(edge) as Values, this.calibration.images, this.breathe, this.options)
  }

  /** What attention keeps in registers. */
  private async chooseObserved(name: string): Promise<void> {
    const operand = this.activations.get(name)
    if (!operand) return
    const search = await CodeSearch.of(operand, this.observations.get(name) as Observation, null, this.breathe, this.choice.without)
    this.scheme.edges.set(name, (await search.best(this.choice.bits(name))).code)
  }

  /** Chooses the code of an edge and rounds its values in place. */
  private async round(operand: ActivationOperand, values: Values): Promise<void> {
    const { name, width } = operand
    const weights = this.choice.rowSensitivity.get(name)?.subarray(0, values.length / width) ?? null
    const observation = this.withRows(operand, values, await this.observe(values, width), weights)
    const search = await CodeSearch.of(operand, observation, this.choice.importance(operand), this.breathe, this.choice.without)
    const { code } = await search.best(this.choice.bits(name))
    this.scheme.edges.set(name, code)
    await roundValues(values, code, width, this.breathe, operand.elements / width)
    if (operand.readers.length === 0) return
    const exact = this.exact.get(name) as Values
    const [halves, mean, drifted] = await Promise.all([
      this.momentsOf(exact, values, width, weights),
      columnMeans(values, width, this.breathe),
      drift(exact, values, width, this.calibration.images, this.breathe),
    ])
    this.rounded.set(name, {
      mean,
      drift: drifted,
      moments: meanOwn(halves),
      refit: this.refits(operand) ? await refit(halves, width, this.breathe, this.options) : null,
    })
  }

  /** With rows that are drawn as often as they count, where that is known. */
  private withRows(
    { name, width, elements, fineFirst }: ActivationOperand,
    values: Values,
    seen: Observation,
    weights: Float32Array | null,
  ): Observation {
    const drawn = this.choice.streamRows.get(name)
    if (drawn) return { ...seen, samples: rowsOf(values, width, drawn.numbers), rowsAnImage: drawn.rowsAnImage }
    const rows = elements / width
    const numbers = fineFirst ? Int32Array.from({ length: this.calibration.images }, (_, image) => image * rows) : null
    const observation = numbers ? { ...seen, firstRows: rowsOf(values, width, numbers) } : seen
    if (!weights) return observation
    // Fine rows have no need of the levels of the others.
    const coded = fineFirst && this.choice.bits(name) < FINE_BITS ? weights.map((weight, t) => (t % rows === 0 ? 0 : weight)) : weights
    return { ...observation, samples: rowsOf(values, width, systematic(coded, Math.min(SAMPLE_ROWS, weights.length))) }
  }

  /** Whether weights that read it are fitted: those with 8 bits hardly gain, and stay what they are. */
  private refits({ readers }: ActivationOperand): boolean {
    return !this.choice.without.has('refit') && readers.some(({ weight }) => this.choice.bits(weight) < 8)
  }

  /** Of each half of the images; if they are odd in number the last is in neither, and a single image is all. */
  private async momentsOf(x: Values, y: Values, width: number, weights: Float32Array | null): Promise<JointMoments[]> {
    const { images } = this.calibration
    const size = (Math.floor(images / 2) || 1) * (x.length / images)
    const halves: JointMoments[] = []
    for (let from = 0; from + size <= x.length && halves.length < 2; from += size) {
      const some = (all: Float32Array, columns: number) =>
        someRows(all.subarray((from / width) * columns, ((from + size) / width) * columns), columns, x.length / width / images)
      const counts = weights && some(weights, 1)
      halves.push(await jointMoments(some(x, width), some(y, width), width, this.breathe, this.options, counts))
    }
    return halves
  }

  private sampling(rows: number): { stride: number; kept: number } {
    const stride = sampleStride(rows, rows / this.calibration.images)
    return { stride, kept: Math.min(SAMPLE_ROWS, Math.ceil(rows / stride)) }
  }

  private async quantizeLinear(node: LinearNode): Promise<void> {
    const input = this.activations.get(this.stored(node.input).edge) as ActivationOperand
    const rounded = this.rounded.get(input.name) as Rounded
    if (input.readers.at(-1)?.name === node.name) this.rounded.delete(input.name)
    const { mean, drift, moments, refit } = rounded
    const { width } = input
    const { without } = this.choice
    const bits = this.choice.bits(node.weight)
    const compensated = !without.has('compensation') && bits < 8
    const factor = compensated ? (rounded.compensator ??= await compensator(moments, width, this.breathe)) : null
    const weight = tensorOf(this.float, node.weight)
    const variances = Float64Array.from({ length: width }, (_, j) => moments[j * width + j])
    const target = refit && bits < 8 ? await refit.apply(weight) : weight
    const { code, levels } = await encodeWeight(target, variances, bits, factor, this.breathe, without, this.options)
    this.scheme.weights.set(node.weight, code)

    const decoded = new Float32Array(levels.length)
    const error = new Float64Array(code.outputs)
    const corrected = !without.has('bias')
    for (let o = 0; o < code.outputs; o++) {
      for (let i = o * width; i < (o + 1) * width; i++) {
        decoded[i] = levels[i] * code.steps[o]
        if (corrected) error[o] += (decoded[i] - weight.data[i]) * mean[i % width] + weight.data[i] * drift[i % width]
      }
      await this.breathe()
    }
    const bias = correctBias(this.graph, this.float, node, error)
    this.decoded.constants.set(bias, tensorOf(this.graph, bias))
    this.decoded.constants.set(node.weight, { shape: weight.shape, data: decoded })
  }

  /** Statistics of all rows, and sampled ones. */
  private async observe(values: Values, width: number): Promise<Observation> {
    const count = values.length / width
    const { stride, kept } = this.sampling(count)
    const samples = new Float32Array(kept * width)
    const [mean, meanSquare] = [new Float64Array(width), new Float64Array(width)]
    const min = new Float64Array(width).fill(Number.POSITIVE_INFINITY)
    const max = new Float64Array(width).fill(Number.NEGATIVE_INFINITY)
    const seen = { count, width, mean, meanSquare, min, max, samples }
    for (let t = 0; t < count; t++) {
      if (t % stride === 0 && t / stride < kept) samples.set(values.subarray(t * width, (t + 1) * width), (t / stride) * width)
      addRow(seen, values, t * width)
      if (t % 16 === 0) await this.breathe()
    }
    return seen
  }
}

/** All, or every nth. */
function someRows(values: Values, width: number, rowsPerImage: number): Float32Array {
  const rows = values.length / width
  const stride = sampleStride(rows, rowsPerImage, MOMENT_ROWS)
  if (stride === 1) return values
  return everyNthRow(values.subarray(0, Math.floor(rows / stride) * stride * width), width, stride)
}
