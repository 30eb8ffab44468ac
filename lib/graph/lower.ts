import type { NativeBlob, Plan } from '../runtime/addon-types.js'
import { allocateBlob } from '../runtime/blobs.js'
import { assertNoFloatEdges, assertNoFloatProducts } from './floats.js'
import { fuse, type Step } from './fusion.js'
import type { Edge, Graph } from './graph.js'
import { lowerAttention, lowerAttentionGradient } from './lower-attention.js'
import { lowerLinear, lowerPointwise } from './lower-linear.js'
import { lowerCopies, lowerLayerNorm, lowerLayerNormGradient, lowerMean, lowerMerge, lowerPatchify, lowerPrefix } from './lower-rows.js'
import { FLOAT_BYTES, Places } from './places.js'
import { probabilitiesOf, type Scheme } from './scheme.js'
import { validateGraph } from './validate.js'
import { validateScheme } from './validate-scheme.js'

/**
 * Lowering: a graph and the codes of its operands become a list of kernel calls on planned memory.
 */

export interface LowerOptions {
  /** Most images of a pass; default: as many as have about `rows` rows of tokens. */
  batch?: number
  /** Default 256: what caches of a CPU hold. */
  rows?: number
  /**
   * Edges (or {@link probabilitiesOf} an attention node) to return instead of the logits, one after the other for each image. Float plans
   * only.
   */
  outputs?: string[]
  /** Observers by edge, or by {@link probabilitiesOf} an attention node. Float plans only. See native/ops/observe.h. */
  observe?: Map<string, { sampleRows: number; sampleStride: number }>
  /**
   * Pairs of edges with equally many rows, by any name: left^T right is summed over rows and images. Float plans only. See
   * native/ops/product_sum.h.
   */
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

class Lowering {
  private readonly batch: number
  private readonly places: Places
  private readonly steps: Step[]
  private readonly observed: NonNullable<LowerOptions['observe']>
  private readonly products: NonNullable<LowerOptions['products']>
  private readonly written = new Set<string>()
  private readonly states = new Map<string, NativeBlob>()
  private readonly sums = new Map<string, NativeBlob>()

  constructor(graph: Graph, scheme: Scheme | null, options: LowerOptions) {
    this.batch = options.batch ?? batchOf(graph, options.rows)
    if (!(Number.isInteger(this.batch) && this.batch > 0)) throw new Error(`a batch of ${this.batch} images`)
    this.observed = options.observe ?? new Map()
    this.products = options.products ?? new Map()
    const places = new Places(graph, scheme, options.outputs ?? [graph.output], this.observed)
    this.places = places
    const factors = [...this.products.values()].flatMap(({ left, right }) => [left, right])
    const asked = [...places.outputs.map(({ name }) => name), ...this.observed.keys(), ...factors]
    for (const name of asked) places.shapeOf(name)
    this.steps = fuse(graph, new Set(asked.map((name) => places.attentionOf(name)?.output ?? name)))
    places.plan(this.steps, factors)
  }

  run(): Lowered {
    const { places } = this
    for (const name of places.inputs()) this.keep(name)
    this.steps.forEach((step, index) => {
      lowerStep(places, step, index)
      if (step.op === 'attention' || step.op === 'attentionGradient') this.keep(probabilitiesOf(step.node))
      if (step.op !== 'prefix') this.keep(step.output)
    })
    const arenaBytes = places.memory.place(this.batch)
    places.pool.finish()
    const { inputBytes, outputBytes, ops, outputs, scheme } = places
    const plan: Plan = { batch: this.batch, arenaBytes, inputBytes, outputBytes, ops, blobs: places.pool.blobs }
    if (scheme) (scheme.coverage === 'full' ? assertNoFloatEdges : assertNoFloatProducts)(plan)
    return { plan, states: this.states, sums: this.sums, outputs: outputs.map(({ name, rows, width }) => ({ name, rows, width })) }
  }

  /** Observers of an edge that was just written, products that waited for it, and copies of it into the output. */
  private keep(written: string): void {
    const { places } = this
    const { ops, pool } = places
    this.written.add(written)
    for (const [name, settings] of this.observed) {
      if (places.storageOf(name) !== written) continue
      const x = places.view(name)
      const blob = allocateBlob((1 + 4 * x.width) * 8 + settings.sampleRows * x.width * FLOAT_BYTES)
      this.states.set(name, blob)
      ops.push({ op: 'observe', name: `${name}.observe`, x, state: pool.share(blob), ...settings })
    }
    for (const [name, { left, right }] of this.products) {
      const edges = [left, right].map((edge) => places.storageOf(edge))
      if (!edges.includes(written) || !edges.every((edge) => this.written.has(edge))) continue
      const [a, b] = [places.view(left), places.view(right)]
      const blob = allocateBlob(a.width * b.width * FLOAT_BYTES)
      this.sums.set(name, blob)
      ops.push({ op: 'productSum', name: `${name}.sum`, a, b, sum: pool.share(blob) })
    }
    if (places.isDirectOutput(written)) return
    for (const output of places.outputs) {
      if (places.storageOf(output.name) !== written) continue
      ops.push({ op: 'copyRows', name: `${output.name}.copy`, x: places.view(output.name), y: places.outputView(output) })
    }
  }
}

/** @param index of the step, by which {@link Places} knows what is read later */
function lowerStep(places: Places, step: Step, index: number): void {
  switch (step.op) {
    case 'patchify':
      lowerPatchify(places, step)
      break
    case 'prefix':
      lowerPrefix(places, step)
      break
    case 'layernorm':
      lowerLayerNorm(places, step.node)
      break
    case 'attention':
      lowerAttention(places, step.node)
      break
    case 'merge':
      lowerMerge(places, step)
      break
    case 'mean':
      lowerMean(places, step)
      break
    case 'attentionGradient':
      lowerAttentionGradient(places, step.node)
      break
    case 'place':
    case 'repeat':
    case 'unmerge':
      lowerCopies(places, step)
      break
    case 'layernormGradient':
      lowerLayerNormGradient(places, step, index)
      break
    case 'pointwise':
      lowerPointwise(places, step, index)
      break
    case 'linear':
      lowerLinear(places, step, index)
  }
}

/** Images of a pass unless a caller asks for another number; `rows` as in {@link LowerOptions}. */
export function batchOf(graph: Graph, batchRows = BATCH_ROWS): number {
  const rows = graph.nodes.flatMap((node) => (node.op === 'linear' ? [(graph.edges.get(node.input) as Edge).rows] : []))
  return Math.ceil(batchRows / Math.max(1, ...rows))
}
