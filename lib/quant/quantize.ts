import { allocateGreedy } from '../codes/allocate.js'
import { breather } from '../codes/breathe.js'
import type { Observation } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import type { Scheme } from '../graph/scheme.js'
import { assemble, divergence, type Unit } from './assemble.js'
import { Candidates } from './candidates.js'
import { columnImportance } from './choose.js'
import { Damage } from './damage.js'
import { measureInformation } from './information.js'
import { type Calibration, observe } from './observe.js'
import { type ActivationOperand, findOperands } from './operands.js'
import { rotate } from './rotate.js'
import { quantizeInSequence } from './sequential.js'
import { smooth } from './smooth.js'

export interface Progress {
  stage: 'observe' | 'smooth' | 'measure' | 'quantize'
  done: number
  total: number
}

export interface QuantizeGraphOptions {
  /** One width for every operand (2..8); the patch embedding and the head keep at least 8. */
  bits?: number
  /** Bound on the average of weights (by parameters) and on that of activations (by elements per image), separately (2..8). */
  averageBits?: number
  /**
   * How an average is spread: 'greedy' by the damage that narrower codes do (default), or 'even', which takes the two nearest widths, the narrower one
   * for the largest operands, without looking at the data and is meant for timing random weights.
   */
  allocation?: 'greedy' | 'even'
  /** Rotate the residual stream (default). */
  rotate?: boolean
  /** Quantize also layer after layer, each on the outputs of the quantized ones before it, and keep what diverges less (default). */
  sequential?: boolean
  /** Weigh errors by Fisher information (default); widths cannot be chosen without. */
  informed?: boolean
  /** Compensate the rounding of weights (default); costs seconds. */
  compensate?: boolean
  threads?: number
  signal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

export interface QuantizedGraph {
  graph: Graph
  scheme: Scheme
  /** Mean KL divergence to the float model on the calibration images, nats. */
  divergence: number
}

/** Widths that the greedy allocation chooses from, widest first. */
const WIDTHS = [8, 7, 6, 5, 4, 3, 2]
/** Averages below this take 2-bit operands into account: what they do to each other is far from additive. */
const NEEDS_TWO_BITS = 4

/**
 * Post-training quantization of a vision transformer's graph: rotation, SQ-b, codes for each operand at each width, widths. See docs/architecture.md.
 */
export async function quantizeGraph(float: Graph, calibration: Calibration, options: QuantizeGraphOptions): Promise<QuantizedGraph> {
  const { signal, threads } = options
  const breathe = breather(signal)
  const report = (stage: Progress['stage']) => (done: number, total: number) => options.onProgress?.({ stage, done, total })

  const rotated = options.rotate === false ? float : await rotate(float, { threads, signal })
  const operands = findOperands(rotated).activations
  const observed = await observe(rotated, operands, calibration, { threads, signal, onProgress: report('observe') })
  const { graph, observations } = await smooth(rotated, operands, observed.observations, breathe)
  report('smooth')(1, 1)

  const found = findOperands(graph)
  const units: Unit[] = [...found.weights, ...found.activations]
  const informed = options.allocation !== 'even' && options.informed !== false
  const information = informed ? await measureInformation(graph, found, calibration, observed.logits, { threads, signal }) : null
  const importance = (operand: ActivationOperand) =>
    information?.columns(operand) ?? columnImportance(graph, operand, (edge) => (observations.get(edge) as Observation).meanSquare)
  const candidates = new Candidates(graph, observations, breathe, options.compensate !== false, importance)
  const damage = information && new Damage(graph, candidates, information, breathe, { threads, signal })
  const bits = await chooseBits(graph, units, damage, options, report('measure'))
  const width = new Map(units.map((unit, u) => [unit.name, bits[u]]))
  const choice = { bits: (name: string) => width.get(name) as number, compensate: options.compensate !== false, importance }
  const diverge = async (quantized: { graph: Graph; scheme: Scheme }) => ({
    ...quantized,
    divergence: await divergence(quantized, calibration, observed.logits, { threads, signal }),
  })
  const parallel = await diverge(await assemble(graph, units, bits, candidates))
  if (options.sequential === false || !informed) return parallel
  const runOptions = { threads, signal, onProgress: report('quantize') }
  const sequential = await diverge(await quantizeInSequence(graph, found, observations, choice, calibration, breathe, runOptions))
  return sequential.divergence < parallel.divergence ? sequential : parallel
}

/** @param damage null: the two widths nearest to the average */
async function chooseBits(
  graph: Graph,
  units: Unit[],
  damage: Damage | null,
  options: QuantizeGraphOptions,
  report: (done: number, total: number) => void,
): Promise<number[]> {
  if (options.bits !== undefined) {
    const { bits } = options
    return units.map((unit) => (isBorder(graph, unit) ? Math.max(8, bits) : bits))
  }
  const average = options.averageBits as number
  const widths =
    damage === null ? [Math.ceil(average), Math.floor(average)] : WIDTHS.filter((width) => width > 2 || average < NEEDS_TWO_BITS)
  const choices: { elements: number; bits: number[]; damage: number[] }[] = []
  for (const [u, unit] of units.entries()) {
    choices.push({ elements: unit.elements, bits: widths, damage: damage ? await damage.of(unit, widths) : widths.map(() => 0) })
    options.signal?.throwIfAborted()
    report(u + 1, units.length)
  }
  const bits = units.map(() => 0)
  for (const kind of ['weight', 'activation'] as const) {
    const members = units.map((_, u) => u).filter((u) => (units[u].kind === 'weight') === (kind === 'weight'))
    const chosen = allocateGreedy(
      members.map((u) => choices[u]),
      average,
    )
    members.forEach((u, i) => {
      bits[u] = chosen[i]
    })
  }
  return bits
}

/** The patch embedding and the head: their weights, and the edges that feed them. */
function isBorder(graph: Graph, unit: Unit): boolean {
  const edge = unit.kind === 'weight' ? unit.input : unit
  const fromImage = graph.nodes.some((node) => node.op === 'patchify' && node.output === edge.name)
  return fromImage || edge.readers.some((reader) => isLogits(graph, reader.output))
}

/** Whether only additions lie between this edge and the logits. */
function isLogits(graph: Graph, edge: string): boolean {
  if (edge === graph.output) return true
  return graph.nodes.some((node) => node.op === 'add' && [node.left, node.right].includes(edge) && isLogits(graph, node.output))
}
