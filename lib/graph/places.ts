import type { Constant, PlanEncoder, PlanOp, View } from '../runtime/addon-types.js'
import { ConstantPool, padOutputs } from './constants.js'
import { storedEdges } from './coverage.js'
import { encoderOf, inverseStepsOf } from './encoder.js'
import { stepsOf } from './factors.js'
import { edgeFormats, type Format } from './formats.js'
import { type ExtendableStep, inputsOfStep, residualOf, type Step } from './fusion.js'
import { type Edge, type Graph, inputEdges, type Tensor } from './graph.js'
import { EdgeMemory } from './memory.js'
import { storageOf } from './operands.js'
import { type Code, probabilitiesOf, type Scheme } from './scheme.js'
import { type AttentionNode, probabilitiesShape } from './windows.js'

/**
 * Where the edges of a graph lie while it is lowered, in what form, and the constants beside them: what every kind of op asks for.
 */

export const FLOAT_BYTES = 4

/** An edge that a run returns. */
export type Output = Edge & { name: string; offset: number }

export class Places {
  readonly outputs: Output[] = []
  readonly outputBytes: number
  readonly inputBytes: number
  readonly pool = new ConstantPool()
  readonly memory = new EdgeMemory()
  readonly ops: PlanOp[] = []
  private readonly stored: ReturnType<typeof storageOf>
  private readonly attentions: Map<string, AttentionNode>
  /** Where the edges that come with an image begin in its part of the input. */
  private readonly inputOffsets = new Map<string, number>()
  private formats = new Map<string, Format>()
  /** The last step that reads a stored edge. */
  private readonly lastRead = new Map<string, number>()

  /**
   * @param outputs edges to return, or {@link probabilitiesOf} an attention node
   * @param observed the same, to look at
   */
  constructor(
    private readonly graph: Graph,
    readonly scheme: Scheme | null,
    outputs: string[],
    private readonly observed: { has(name: string): boolean },
  ) {
    this.stored = storageOf(graph)
    this.attentions = new Map(
      graph.nodes.flatMap((node) =>
        node.op === 'attention' || node.op === 'attentionGradient' ? [[probabilitiesOf(node), node] as const] : [],
      ),
    )
    let inputBytes = 0
    for (const name of inputEdges(graph)) {
      this.inputOffsets.set(name, inputBytes)
      inputBytes += bytesOf(this.shapeOf(name))
    }
    this.inputBytes = inputBytes
    let offset = 0
    for (const name of outputs) {
      const edge = this.shapeOf(name)
      this.outputs.push({ name, ...edge, offset })
      offset += bytesOf(edge)
    }
    this.outputBytes = offset
  }

  /**
   * Settles which edges hold codes, and how long each is needed.
   *
   * @param kept edges that products read, which may come after all else that does: nothing takes their place
   * @throws Error when an edge to return is stored as codes
   */
  plan(steps: Step[], kept: string[]): void {
    const { scheme } = this
    const covered = scheme?.coverage === 'full' ? storedEdges(this.graph) : null
    if (scheme) this.formats = edgeFormats(steps, scheme, (edge) => this.storageOf(edge), covered)
    steps.forEach((step, index) => {
      for (const edge of inputsOfStep(step)) this.lastRead.set(this.storageOf(edge), index)
    })
    for (const edge of kept) this.lastRead.set(this.storageOf(edge), steps.length)
    for (const { name } of this.outputs) {
      if (this.formatOf(name)) throw new Error(`the edge ${name} is stored as codes and cannot be returned`)
    }
  }

  /** The edge whose memory an edge shares. */
  storageOf(name: string): string {
    return this.stored(name).edge
  }

  /** Undefined where an edge holds floats. */
  formatOf(name: string): Format | undefined {
    return this.formats.get(this.storageOf(name))
  }

  /** The edges that come with an image. */
  inputs(): Iterable<string> {
    return this.inputOffsets.keys()
  }

  /** The attention node whose probabilities have this name. */
  attentionOf(name: string): AttentionNode | undefined {
    return this.attentions.get(name)
  }

  shapeOf(name: string): Edge {
    const attention = this.attentions.get(name)
    const edge = this.graph.edges.get(attention?.output ?? name)
    if (!edge) throw new Error(`there is no edge ${name}`)
    return attention ? probabilitiesShape(attention, edge) : edge
  }

  tensor(name: string): Tensor {
    const tensor = this.graph.constants.get(name)
    if (!tensor) throw new Error(`the constant ${name} is missing`)
    return tensor
  }

  /** The values of a constant, for this plan alone. */
  constant(name: string): Constant {
    return this.pool.add(this.tensor(name).data)
  }

  /** One value for each output of a linear layer. */
  columns(values: ArrayLike<number> | null, width: number): Constant {
    return this.pool.add(padOutputs(values, width))
  }

  /** An edge as the op that is pushed next sees it. */
  view(name: string): View {
    const { edge, row, column } = this.stored(name)
    const { rows, width } = this.shapeOf(name)
    const whole = this.shapeOf(edge)
    const start = this.inputOffsets.get(edge)
    if (start !== undefined) {
      const rowStride = whole.width * FLOAT_BYTES
      const offset = start + row * rowStride + column * FLOAT_BYTES
      return { space: 'input', offset, rowStride, imageStride: this.inputBytes, rows, width }
    }
    return this.memory.view(edge, whole, this.formats.has(edge) ? 1 : FLOAT_BYTES, { row, column, rows, width }, this.ops.length)
  }

  outputView({ rows, width, offset }: Output): View {
    return { space: 'output', offset, rowStride: width * FLOAT_BYTES, imageStride: this.outputBytes, rows, width }
  }

  /** Where an edge is written. */
  place(edge: string): View {
    return this.isDirectOutput(edge) ? this.outputView(this.outputs[0]) : this.view(edge)
  }

  /** The same, and how. */
  target(edge: string): { y: View; encode?: PlanEncoder } {
    const y = this.place(edge)
    const format = this.formats.get(edge)
    return format ? { y, encode: this.encoder(format.code, format.offset, y.rows, y.width) } : { y }
  }

  /**
   * @param rows of an image
   * @param width of an edge whose columns may have steps of their own
   */
  encoder(code: Code, offset: number, rows: number, width?: number): PlanEncoder {
    const { table, ...values } = encoderOf(code, offset)
    return {
      ...values,
      ...(table && { table: this.pool.add(table) }),
      ...(code.factors && width && { inverseSteps: this.columns(inverseStepsOf(code, width), width) }),
      ...(code.fineFirst !== undefined && { fineEvery: rows }),
    }
  }

  /** What is added last. */
  residual({ residual, output }: ExtendableStep): Pick<Extract<PlanOp, { op: 'linearCodes' }>, 'residual' | 'residualCode'> {
    if (!residual) return {}
    if ('constant' in residual) return { residual: this.pool.addRows(this.tensor(residual.constant)) }
    const view = this.view(residual.edge)
    const format = this.formatOf(residual.edge)
    if (!format) return { residual: view }
    const { width } = this.shapeOf(output)
    return { residual: view, residualCode: { scale: this.columns(stepsOf(format.code, width), width), offset: format.offset } }
  }

  /** Lets a sum with a residual take the residual's place when nothing reads that after this step. */
  reuseResidual(step: ExtendableStep, index: number): void {
    const [residual] = residualOf(step)
    const { output } = step
    if (residual === undefined || this.isDirectOutput(output)) return
    const edge = this.storageOf(residual)
    if (this.formats.has(edge) !== this.formats.has(output)) return
    const [from, to] = [this.shapeOf(edge), this.shapeOf(output)]
    if (from.rows !== to.rows || from.width !== to.width) return
    const others = inputsOfStep(step).filter((name) => name !== residual)
    if (!this.memory.has(edge) || this.lastRead.get(edge) !== index || others.some((name) => this.storageOf(name) === edge)) return
    this.memory.reuse(output, edge)
  }

  /** Whether an edge has no use but to be the output: then its producer writes it there. */
  isDirectOutput(edge: string): boolean {
    const [output] = this.outputs
    if (this.outputs.length !== 1 || output.name !== edge || this.lastRead.has(edge)) return false
    return !this.inputOffsets.has(edge) && !this.attentions.has(edge) && !this.observed.has(edge)
  }

  /** Whether somebody returns or observes it. */
  isWanted(name: string): boolean {
    return this.observed.has(name) || this.outputs.some((output) => output.name === name)
  }
}

const bytesOf = ({ rows, width }: Edge): number => rows * width * FLOAT_BYTES

/** Some of the rows of a view that nobody else uses. */
export function rowsOf(view: View, first: number, rows: number): View {
  view.offset += first * view.rowStride
  view.rows = rows
  return view
}
