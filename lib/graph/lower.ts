import type { Constant, NativeBlob, Plan, PlanEncoder, PlanOp, PlanWindows, View } from '../runtime/addon-types.js'
import { allocateBlob } from '../runtime/blobs.js'
import { ConstantPool, codedWeightBlob, floatWeightBlob, padOutputs } from './constants.js'
import { storedEdges } from './coverage.js'
import { encodeRows, encoderOf, inverseStepsOf } from './encoder.js'
import { shiftsOf, stepsOf } from './factors.js'
import { assertNoFloatEdges, assertNoFloatProducts } from './floats.js'
import { edgeFormats, type Format } from './formats.js'
import { type ExtendableStep, fuse, inputsOfStep, type LinearStep, type PointwiseStep, residualOf, type Step } from './fusion.js'
import { type Edge, type Graph, inputEdges, type NodeOf, type Tensor } from './graph.js'
import { EdgeMemory } from './memory.js'
import { storageOf } from './operands.js'
import { type Code, logitsOf, probabilitiesOf, type Scheme, type WeightCode } from './scheme.js'
import { validateGraph } from './validate.js'
import { validateScheme } from './validate-scheme.js'
import {
  type AttentionNode,
  mergeRows,
  probabilitiesShape,
  scalesOf,
  unmergeElements,
  windowRegions,
  windowRows,
  windowsOf,
} from './windows.js'

/**
 * Lowering: a graph and the codes of its operands become a list of kernel calls on planned memory.
 */

export interface LowerOptions {
  /** Images in flight at once; default: as many as have about `rows` rows of tokens. */
  batch?: number
  /** Default 256: what caches of a CPU hold. */
  rows?: number
  /** Edges (or {@link probabilitiesOf} an attention node) to return instead of the logits, one after the other for each image. Float plans only. */
  outputs?: string[]
  /** Observers by edge, or by {@link probabilitiesOf} an attention node. Float plans only. See native/ops/observe.h. */
  observe?: Map<string, { sampleRows: number; sampleStride: number }>
  /** Pairs of edges with equally many rows, by any name: left^T right is summed over rows and images. Float plans only. See native/ops/product_sum.h. */
  products?: Map<string, { left: string; right: string }>
}

export interface Lowered {
  plan: Plan
  /** The state of each observer, by the name under which it was asked for. */
  states: Map<string, NativeBlob>
  /** Of each product float32 [width of left][width of right], by its name. */
  sums: Map<string, NativeBlob>
  /** What an image's part of the output holds, in order. */
  outputs: (Edge & { name: string })[]
}

const BATCH_ROWS = 256
const FLOAT_BYTES = 4
const LARGEST_FLOAT = (2 - 2 ** -23) * 2 ** 127

/**
 * @param scheme null for a float plan; else every operand has a code in it
 * @throws Error that names the node, edge or operand which cannot be lowered
 */
export function lower(graph: Graph, scheme: Scheme | null, options: LowerOptions = {}): Lowered {
  validateGraph(graph, scheme, options.outputs === undefined)
  if (scheme) validateScheme(graph, scheme)
  if (scheme && (options.outputs || options.observe || options.products)) {
    throw new Error('only a float plan has edges to return or observe')
  }
  return new Lowering(graph, scheme, options).run()
}

type Output = Edge & { name: string; offset: number }

class Lowering {
  private readonly batch: number
  private readonly stored: ReturnType<typeof storageOf>
  private readonly steps: Step[]
  private readonly formats: Map<string, Format>
  /** The last step that reads a stored edge. */
  private readonly lastRead = new Map<string, number>()
  private readonly attentions: Map<string, AttentionNode>
  private readonly outputs: Output[] = []
  private readonly outputBytes: number
  /** Where the edges that come with an image begin in its part of the input. */
  private readonly inputOffsets = new Map<string, number>()
  private inputBytes = 0
  private readonly observed: NonNullable<LowerOptions['observe']>
  private readonly products: NonNullable<LowerOptions['products']>
  private readonly written = new Set<string>()

  private readonly pool = new ConstantPool()
  private readonly memory = new EdgeMemory()
  private readonly states = new Map<string, NativeBlob>()
  private readonly sums = new Map<string, NativeBlob>()
  private readonly ops: PlanOp[] = []

  constructor(
    private readonly graph: Graph,
    private readonly scheme: Scheme | null,
    options: LowerOptions,
  ) {
    this.batch = options.batch ?? batchOf(graph, options.rows)
    if (!(Number.isInteger(this.batch) && this.batch > 0)) throw new Error(`a batch of ${this.batch} images`)
    this.attentions = new Map(
      graph.nodes.flatMap((node) =>
        node.op === 'attention' || node.op === 'attentionGradient' ? [[probabilitiesOf(node), node] as const] : [],
      ),
    )
    for (const name of inputEdges(graph)) {
      this.inputOffsets.set(name, this.inputBytes)
      this.inputBytes += bytesOf(this.shapeOf(name))
    }
    this.observed = options.observe ?? new Map()
    this.products = options.products ?? new Map()
    let offset = 0
    for (const name of options.outputs ?? [graph.output]) {
      const edge = this.shapeOf(name)
      this.outputs.push({ name, ...edge, offset })
      offset += bytesOf(edge)
    }
    this.outputBytes = offset
    this.stored = storageOf(graph)
    const factors = [...this.products.values()].flatMap(({ left, right }) => [left, right])
    const asked = [...this.outputs.map(({ name }) => name), ...this.observed.keys(), ...factors]
    for (const name of asked) this.shapeOf(name)
    this.steps = fuse(graph, new Set(asked.map((name) => this.attentions.get(name)?.output ?? name)))
    const covered = scheme?.coverage === 'full' ? storedEdges(graph) : null
    this.formats = scheme ? edgeFormats(this.steps, scheme, (edge) => this.stored(edge).edge, covered) : new Map()
    this.steps.forEach((step, index) => {
      for (const edge of inputsOfStep(step)) this.lastRead.set(this.stored(edge).edge, index)
    })
    // A product may come after all else that reads its edges: nothing takes their place.
    for (const edge of factors) this.lastRead.set(this.stored(edge).edge, this.steps.length)
    for (const { name } of this.outputs) {
      if (this.formats.has(this.stored(name).edge)) throw new Error(`the edge ${name} is stored as codes and cannot be returned`)
    }
  }

  run(): Lowered {
    for (const name of this.inputOffsets.keys()) this.keep(name)
    this.steps.forEach((step, index) => {
      this.emit(step, index)
      if (step.op !== 'prefix') this.keep(step.output)
    })
    const arenaBytes = this.memory.place(this.batch)
    this.pool.finish()
    const plan: Plan = {
      batch: this.batch,
      arenaBytes,
      inputBytes: this.inputBytes,
      outputBytes: this.outputBytes,
      ops: this.ops,
      blobs: this.pool.blobs,
    }
    if (this.scheme) (this.scheme.coverage === 'full' ? assertNoFloatEdges : assertNoFloatProducts)(plan)
    return { plan, states: this.states, sums: this.sums, outputs: this.outputs.map(({ name, rows, width }) => ({ name, rows, width })) }
  }

  private emit(step: Step, index: number): void {
    const { name } = step.node
    switch (step.op) {
      case 'patchify': {
        const { input, channels, patchHeight, patchWidth } = step.node
        const x = this.view(input)
        this.ops.push({ op: 'patchify', name, x, ...this.target(step.output), channels, patchHeight, patchWidth })
        return
      }
      case 'prefix': {
        const { shape, data } = this.tensor(step.node.prefix)
        const format = this.formats.get(step.output)
        const rows = format ? encodeRows(format.code, format.offset, data, shape[1]) : data
        const x = this.pool.addRows({ shape, data: rows })
        const y = rowsOf(this.place(step.output), 0, x.rows)
        this.ops.push({ op: 'copyRows', name, x, y, ...(format && { codes: true }) })
        return
      }
      case 'layernorm':
        this.emitLayerNorm(step.node)
        return
      case 'attention':
        this.emitAttention(step.node)
        return
      case 'merge':
      case 'mean':
        this.emitRows(step)
        return
      case 'attentionGradient':
        this.emitAttentionGradient(step.node)
        return
      case 'place':
      case 'repeat':
      case 'unmerge':
        this.emitCopies(step)
        return
      case 'layernormGradient': {
        this.reuseResidual(step, index)
        const { input, gradient, eps } = step.node
        const gamma = this.pool.add(this.tensor(step.node.gamma).data)
        const operands = { x: this.view(input), gradient: this.view(gradient), ...this.residual(step) }
        this.ops.push({ op: 'layernormGradient', name, ...operands, ...this.target(step.output), gamma, eps: Math.fround(eps) })
        return
      }
      case 'pointwise':
        this.emitPointwise(step, index)
        return
      case 'linear':
        this.emitLinear(step, index)
    }
  }

  /** What reads rows as they are stored: floats, or codes. */
  private emitRows(step: Extract<Step, { op: 'merge' | 'mean' }>): void {
    const { name, input } = step.node
    const format = this.formats.get(this.stored(input).edge)
    const x = this.view(input)
    const target = this.target(step.output)
    if (step.op === 'mean') {
      const decode = format && { offset: format.offset, scale: Math.fround(format.code.step / x.rows) }
      this.ops.push({ op: 'mean', name, x, ...target, ...(decode && { decode }) })
      return
    }
    const rows = mergeRows(step.node.height, step.node.width)
    const elementBytes = format ? 1 : FLOAT_BYTES
    this.ops.push({ op: 'gather', name, x, y: target.y, elementBytes, zero: format?.offset ?? 0, rows })
  }

  /** What only moves rows of gradients. */
  private emitCopies({ node, output }: Extract<Step, { op: 'place' | 'repeat' | 'unmerge' }>): void {
    const { name, input } = node
    const { y } = this.target(output)
    if (node.op === 'repeat') {
      this.ops.push({ op: 'copyRows', name, x: Object.assign(this.view(input), { rowStride: 0, rows: y.rows }), y })
    } else if (node.op === 'place') {
      const zeros = this.pool.addRows({ shape: [1, y.width], data: new Float32Array(y.width) })
      this.ops.push({ op: 'copyRows', name, x: Object.assign(zeros, { rowStride: 0, rows: y.rows }), y })
      const x = this.view(input)
      this.ops.push({ op: 'copyRows', name, x, y: rowsOf(this.target(output).y, node.row, x.rows) })
    } else {
      // The parts of merged rows as rows that may begin at every element.
      const x = this.view(input)
      const stride = x.rowStride / FLOAT_BYTES
      const rows = unmergeElements(node.height, node.width, y.width, stride)
      Object.assign(x, { rows: (x.rows - 1) * stride + x.width - y.width + 1, rowStride: FLOAT_BYTES, width: y.width })
      this.ops.push({ op: 'gather', name, x, y, elementBytes: FLOAT_BYTES, zero: 0, rows })
    }
  }

  private emitPointwise(step: PointwiseStep, index: number): void {
    const { node, input, gain, factor, firstRow } = step
    this.reuseResidual(step, index)
    const x = this.view(input)
    const target = this.target(step.output)
    this.ops.push({
      op: 'pointwise',
      name: node.name,
      x,
      function: step.function,
      ...(gain !== null && { gain: this.pool.add(this.tensor(gain).data) }),
      ...(factor !== null && { factor: this.view(factor) }),
      ...this.residual(step),
      ...target,
      y: rowsOf(target.y, firstRow, x.rows),
    })
  }

  private emitLayerNorm({ name, input, output, gamma, beta, eps }: NodeOf<'layernorm'>): void {
    const constants = { gamma: this.pool.add(this.tensor(gamma).data), beta: this.pool.add(this.tensor(beta).data) }
    const common = { name, x: this.view(input), ...this.target(output), ...constants }
    const format = this.formats.get(this.stored(input).edge)
    if (!format) {
      this.ops.push({ op: 'layernorm', ...common, eps: Math.fround(eps) })
      return
    }
    const { width } = this.shapeOf(input)
    const shifts = shiftsOf(format.code, width)
    const scaled = Math.fround(Math.min((width ** 2 * eps) / format.code.step ** 2, LARGEST_FLOAT))
    this.ops.push({
      ...{ op: 'layernormCodes', ...common, offset: format.offset, eps: scaled },
      ...(shifts && { shift: this.pool.add(shifts) }),
    })
  }

  private emitLinear(step: LinearStep, index: number): void {
    const { node, activation, gain, firstRow } = step
    const bias = node.op === 'linear' ? node.bias : null
    const { rows, width } = this.shapeOf(node.output)
    this.reuseResidual(step, index)
    const target = this.target(step.output)
    const common = {
      name: node.name,
      x: this.view(node.input),
      bias: this.pool.add(padOutputs(bias === null ? null : this.tensor(bias).data, width)),
      activation,
      ...(gain !== null && { gain: this.pool.add(padOutputs(this.tensor(gain).data, width)) }),
      ...this.residual(step),
      ...target,
      y: rowsOf(target.y, firstRow, rows),
    }
    const code = this.scheme?.weights.get(node.weight)
    if (!code) {
      const weight = this.pool.share(floatWeightBlob(this.tensor(node.weight), node.op === 'linearGradient'))
      this.ops.push({ op: 'linearF32', ...common, weight })
      return
    }
    const input = this.formats.get(this.stored(node.input).edge) as Format
    this.ops.push({ op: 'linearCodes', ...common, ...this.codedWeight(code, input), ...this.preActivation(step) })
  }

  private residual({ residual, output }: ExtendableStep): Pick<Extract<PlanOp, { op: 'linearCodes' }>, 'residual' | 'residualCode'> {
    if (!residual) return {}
    if ('constant' in residual) return { residual: this.pool.addRows(this.tensor(residual.constant)) }
    const view = this.view(residual.edge)
    const format = this.formats.get(this.stored(residual.edge).edge)
    if (!format) return { residual: view }
    const { width } = this.shapeOf(output)
    const scale = this.pool.add(padOutputs(stepsOf(format.code, width), width))
    return { residual: view, residualCode: { scale, offset: format.offset } }
  }

  /** With full coverage what GELU reads, which is the output of the linear layer itself, is rounded. */
  private preActivation({
    node,
    activation,
  }: LinearStep): Pick<Extract<PlanOp, { op: 'linearCodes' }>, 'preActivation' | 'preActivationFactors'> {
    if (this.scheme?.coverage !== 'full' || activation === 'none') return {}
    const code = this.scheme.edges.get(node.output) as Code
    const { step, levels, factors } = code
    const { width } = this.shapeOf(node.output)
    return {
      preActivation: { inverseStep: Math.fround(1 / step), step, low: levels[0], high: levels[levels.length - 1] },
      ...(factors && { preActivationFactors: this.pool.add(padOutputs(stepsOf({ ...code, step: 1 }, width), width)) }),
    }
  }

  private codedWeight(code: WeightCode, input: Format) {
    const { blob, rowSums } = codedWeightBlob(code)
    const scale = padOutputs(code.steps, code.outputs).map((step) => input.code.step * step)
    const correction = new Int32Array(scale.length)
    rowSums.forEach((sum, o) => {
      correction[o] = -input.offset * sum
    })
    return {
      weight: this.pool.share(blob),
      weightBits: code.bits,
      correction: this.pool.add(correction),
      scale: this.pool.add(scale),
    }
  }

  private emitAttentionGradient(node: NodeOf<'attentionGradient'>): void {
    const { name, heads } = node
    const operands = { q: this.view(node.q), k: this.view(node.k), v: this.view(node.v), gradient: this.view(node.gradient) }
    const { y } = this.target(node.output)
    this.ops.push({
      op: 'attentionGradient',
      name,
      ...operands,
      y,
      heads,
      scale: this.scales(node),
      ...this.probabilities(node),
      ...this.windows(node),
    })
    this.keep(probabilitiesOf(node))
  }

  /** Where an attention node writes its probabilities (or their gradient), when somebody asked for them. */
  private probabilities(node: { name: string }): { probabilities?: View } {
    const name = probabilitiesOf(node)
    const wanted = this.observed.has(name) || this.outputs.some((output) => output.name === name)
    return wanted ? { probabilities: this.view(name) } : {}
  }

  private emitAttention(node: NodeOf<'attention'>): void {
    const { name, heads, q, k, v } = node
    const views = { q: this.view(q), k: this.view(k), v: this.view(v) }
    const { y, encode } = this.target(node.output)
    const windows = this.windows(node)
    const kept = probabilitiesOf(node)
    const p = this.scheme?.edges.get(kept)
    if (!p || !encode) {
      this.ops.push({ op: 'attentionF32', name, ...views, y, heads, scale: this.scales(node), ...this.probabilities(node), ...windows })
      this.keep(kept)
      return
    }
    const [stepQ, stepK, stepV] = [q, k, v].map((edge) => stepsOf((this.formats.get(this.stored(edge).edge) as Format).code, heads))
    const stepP = stepsOf(p, heads)
    const scales = scalesOf(node)
    const perHead = (value: (head: number) => number) => this.pool.add(stepP.map((_, head) => value(head)))
    const logits = this.scheme?.coverage === 'full' ? this.scheme.edges.get(logitsOf(node)) : undefined
    this.ops.push({
      op: 'attentionCodes',
      name,
      ...views,
      y,
      heads,
      logitScale: perHead((h) => stepQ[h] * stepK[h] * scales[h]),
      pInverseStep: perHead((h) => 1 / stepP[h]),
      outputScale: perHead((h) => stepP[h] * stepV[h]),
      encodeP: this.encoder(p, 0),
      encode,
      ...windows,
      ...(logits && { logitCode: { inverseStep: Math.fround(1 / logits.step), step: logits.step } }),
    })
  }

  private scales(node: AttentionNode): Constant {
    return this.pool.add(Float32Array.from(scalesOf(node)))
  }

  private windows(node: AttentionNode): { windows?: PlanWindows } {
    const { windows, logitBias, output } = node
    if (!windows && logitBias === undefined) return {}
    const regions = windows && windowRegions(windows)
    return {
      windows: {
        count: windowsOf(node, this.shapeOf(output)).count,
        ...(windows && { rows: windowRows(windows) }),
        ...(regions && { regions: this.pool.add(regions) }),
        ...(logitBias !== undefined && { bias: this.pool.add(this.tensor(logitBias).data) }),
      },
    }
  }

  /** Lets a sum with a residual take the residual's place when nothing reads that later. */
  private reuseResidual(step: ExtendableStep, index: number): void {
    const [residual] = residualOf(step)
    const { output } = step
    if (residual === undefined || this.isDirectOutput(output)) return
    const { edge } = this.stored(residual)
    if (this.formats.has(edge) !== this.formats.has(output)) return
    const [from, to] = [this.shapeOf(edge), this.shapeOf(output)]
    if (from.rows !== to.rows || from.width !== to.width) return
    const others = inputsOfStep(step).filter((name) => name !== residual)
    if (!this.memory.has(edge) || this.lastRead.get(edge) !== index || others.some((name) => this.stored(name).edge === edge)) return
    this.memory.reuse(output, edge)
  }

  /** Observers of an edge that was just written, products that waited for it, and copies of it into the output. */
  private keep(written: string): void {
    this.written.add(written)
    for (const [name, settings] of this.observed) {
      if (this.stored(name).edge !== written) continue
      const x = this.view(name)
      const blob = allocateBlob((1 + 4 * x.width) * 8 + settings.sampleRows * x.width * FLOAT_BYTES)
      this.states.set(name, blob)
      this.ops.push({ op: 'observe', name: `${name}.observe`, x, state: this.pool.share(blob), ...settings })
    }
    for (const [name, { left, right }] of this.products) {
      const edges = [left, right].map((edge) => this.stored(edge).edge)
      if (!edges.includes(written) || !edges.every((edge) => this.written.has(edge))) continue
      const [a, b] = [this.view(left), this.view(right)]
      const blob = allocateBlob(a.width * b.width * FLOAT_BYTES)
      this.sums.set(name, blob)
      this.ops.push({ op: 'productSum', name: `${name}.sum`, a, b, sum: this.pool.share(blob) })
    }
    if (this.isDirectOutput(written)) return
    for (const output of this.outputs) {
      if (this.stored(output.name).edge !== written) continue
      this.ops.push({ op: 'copyRows', name: `${output.name}.copy`, x: this.view(output.name), y: this.outputView(output) })
    }
  }

  /** Whether an edge has no use but to be the output: then its producer writes it there. */
  private isDirectOutput(edge: string): boolean {
    const [output] = this.outputs
    if (this.outputs.length !== 1 || output.name !== edge || this.lastRead.has(edge)) return false
    return !this.inputOffsets.has(edge) && !this.attentions.has(edge) && !this.observed.has(edge)
  }

  /** Where an edge is written. */
  private place(edge: string): View {
    return this.isDirectOutput(edge) ? this.outputView(this.outputs[0]) : this.view(edge)
  }

  /** The same, and how. */
  private target(edge: string): { y: View; encode?: PlanEncoder } {
    const y = this.place(edge)
    const format = this.formats.get(edge)
    return format ? { y, encode: this.encoder(format.code, format.offset, y.width) } : { y }
  }

  /** @param width of an edge whose columns may have steps of their own */
  private encoder(code: Code, offset: 0 | 128, width?: number): PlanEncoder {
    const { table, ...values } = encoderOf(code, offset)
    return {
      ...values,
      ...(table && { table: this.pool.add(table) }),
      ...(code.factors && width && { inverseSteps: this.pool.add(padOutputs(inverseStepsOf(code, width), width)) }),
    }
  }

  /** An edge as the op that is pushed next sees it. */
  private view(name: string): View {
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

  private outputView({ rows, width, offset }: Output): View {
    return { space: 'output', offset, rowStride: width * FLOAT_BYTES, imageStride: this.outputBytes, rows, width }
  }

  private shapeOf(name: string): Edge {
    const attention = this.attentions.get(name)
    const edge = this.graph.edges.get(attention?.output ?? name)
    if (!edge) throw new Error(`there is no edge ${name}`)
    return attention ? probabilitiesShape(attention, edge) : edge
  }

  private tensor(name: string): Tensor {
    const tensor = this.graph.constants.get(name)
    if (!tensor) throw new Error(`the constant ${name} is missing`)
    return tensor
  }
}

const bytesOf = ({ rows, width }: Edge): number => rows * width * FLOAT_BYTES

function rowsOf(view: View, first: number, rows: number): View {
  view.offset += first * view.rowStride
  view.rows = rows
  return view
}

/** Images that are in flight at once unless a caller asks for another number; `rows` as in {@link LowerOptions}. */
export function batchOf(graph: Graph, batchRows = BATCH_ROWS): number {
  const rows = graph.nodes.flatMap((node) => (node.op === 'linear' ? [(graph.edges.get(node.input) as Edge).rows] : []))
  return Math.ceil(batchRows / Math.max(1, ...rows))
}
