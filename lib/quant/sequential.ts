import type { breather } from '../codes/breathe.js'
import { compensator } from '../codes/compensate.js'
import type { Observation } from '../codes/observation.js'
import { roundValues } from '../codes/round.js'
import { type Graph, inputsOf, type Node } from '../graph/graph.js'
import { storageOf } from '../graph/operands.js'
import { logitsOf, probabilitiesOf, type Scheme } from '../graph/scheme.js'
import { correctBias } from './bias.js'
import { CodeSearch, encodeWeight } from './choose.js'
import { evaluateNode, type Values } from './evaluate.js'
import { secondMoments } from './moments.js'
import { type Calibration, type RunOptions, SAMPLE_ROWS, sampleStride } from './observe.js'
import { type ActivationOperand, type LinearNode, type Operands, tensorOf } from './operands.js'
import { rowsOf, type StreamRows } from './stream-rows.js'

/** What is settled before the sequence. */
export interface Choice {
  coverage: Scheme['coverage']
  bits(operand: string): number
  compensate: boolean
  /** Of errors of the columns of an edge; null: all alike. */
  importance(operand: ActivationOperand): ArrayLike<number> | null
  streamRows: StreamRows
}

/**
 * Codes for widths that are chosen: node after node, each on what the quantized nodes before it make of the calibration images, so that a layer's code,
 * the compensation of its weights and the correction of its bias know the errors which reach it.
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

/** Means and second moments of the columns of an edge after rounding. */
interface Rounded {
  mean: Float64Array
  moments: Float64Array
}

/** Second moments are taken from all rows, or from every nth when there are more than this. */
const MOMENT_ROWS = 1 << 15

class Sequence {
  readonly graph: Graph
  readonly scheme: Scheme
  /** Float constants as the quantized ones stand for them. */
  private readonly decoded: Graph
  private readonly values = new Map<string, Values>()
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
    this.values.set(float.input, calibration.pixels)
  }

  async next(node: Node): Promise<void> {
    const { images } = this.calibration
    if (node.op === 'linear') await this.quantizeLinear(node)
    const replaced = node.op === 'linear' ? (this.graph.nodes.find(({ name }) => name === node.name) as LinearNode) : node
    const values = await evaluateNode(this.decoded, replaced, (edge) => this.values.get(edge) as Values, images, this.breathe, this.options)
    for (const edge of inputsOf(node)) if (this.lastReader.get(edge) === node.name) this.values.delete(edge)
    this.values.set(node.output, values)
    if (node.op === 'attention') for (const name of [logitsOf(node), probabilitiesOf(node)]) await this.chooseObserved(name)
    const operand = this.activations.get(node.output)
    if (operand) await this.round(operand, values)
  }

  /** What attention keeps in registers. */
  private async chooseObserved(name: string): Promise<void> {
    const operand = this.activations.get(name)
    if (!operand) return
    const search = await CodeSearch.of(operand, this.observations.get(name) as Observation, null, this.breathe)
    this.scheme.edges.set(name, (await search.best(this.choice.bits(name))).code)
  }

  /** Chooses the code of an edge and rounds its values in place. */
  private async round(operand: ActivationOperand, values: Values): Promise<void> {
    const { name, width } = operand
    const drawn = this.choice.streamRows.get(name)
    const seen = await this.observe(values, width)
    const observation = drawn ? { ...seen, samples: rowsOf(values, width, drawn) } : seen
    const search = await CodeSearch.of(operand, observation, this.choice.importance(operand), this.breathe)
    const { code } = await search.best(this.choice.bits(name))
    this.scheme.edges.set(name, code)
    await roundValues(values, code, width, this.breathe)
    if (operand.readers.length === 0) return
    const { mean } = await this.observe(values, width)
    this.rounded.set(name, { mean, moments: await this.moments(values, width) })
  }

  private async moments(values: Values, width: number): Promise<Float64Array> {
    const rows = values.length / width
    const stride = Math.ceil(rows / MOMENT_ROWS)
    if (stride === 1) return secondMoments(values, width, this.breathe, this.options)
    const kept = new Float32Array(Math.floor(rows / stride) * width)
    for (let t = 0; t * width < kept.length; t++) {
      kept.set(values.subarray(t * stride * width, (t * stride + 1) * width), t * width)
      if (t % 64 === 0) await this.breathe()
    }
    return secondMoments(kept, width, this.breathe, this.options)
  }

  private sampling(rows: number): { stride: number; kept: number } {
    const stride = sampleStride(rows, rows / this.calibration.images)
    return { stride, kept: Math.min(SAMPLE_ROWS, Math.ceil(rows / stride)) }
  }

  private async quantizeLinear(node: LinearNode): Promise<void> {
    const input = this.activations.get(this.stored(node.input).edge) as ActivationOperand
    const { mean, moments } = this.rounded.get(input.name) as Rounded
    const { mean: exactMean } = this.observations.get(input.name) as Observation
    const { width } = input
    const bits = this.choice.bits(node.weight)
    const factor = this.choice.compensate && bits < 8 ? await compensator(moments, width, this.breathe) : null
    const weight = tensorOf(this.float, node.weight)
    const meanSquare = Float64Array.from({ length: width }, (_, j) => moments[j * width + j])
    const { code, levels } = await encodeWeight(weight, meanSquare, bits, factor, this.breathe)
    this.scheme.weights.set(node.weight, code)

    const decoded = new Float32Array(levels.length)
    const error = new Float64Array(code.outputs)
    for (let o = 0; o < code.outputs; o++) {
      for (let i = o * width; i < (o + 1) * width; i++) {
        decoded[i] = levels[i] * code.steps[o]
        error[o] += decoded[i] * mean[i % width] - weight.data[i] * exactMean[i % width]
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
    for (let t = 0; t < count; t++) {
      const row = values.subarray(t * width, (t + 1) * width)
      if (t % stride === 0 && t / stride < kept) samples.set(row, (t / stride) * width)
      for (let j = 0; j < width; j++) {
        const x = row[j]
        mean[j] += x / count
        meanSquare[j] += (x * x) / count
        if (x < min[j]) min[j] = x
        if (x > max[j]) max[j] = x
      }
      if (t % 16 === 0) await this.breathe()
    }
    return { count, width, mean, meanSquare, min, max, samples }
  }
}
