import { assertNoFloatEdges } from '../../lib/graph/floats.js'
import type { Graph } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import { operandsOf } from '../../lib/graph/operands.js'
import type { Code, Scheme } from '../../lib/graph/scheme.js'
import type { Plan } from '../../lib/runtime/addon-types.js'
import { Session } from '../../lib/runtime/session.js'
import { runCodedReference } from '../support/coded-reference.js'
import { relativeError } from '../support/golden.js'
import { runningPaths } from '../support/paths.js'
import { normals } from '../support/random.js'
import { simpleScheme } from '../support/random-scheme.js'
import { smallSwin } from '../support/small-swin.js'
import { smallVit } from '../support/small-vit.js'

/** Full coverage: nothing but codes is stored between the patches and the logits. */

const IMAGES = 3

interface Case {
  graph: Graph
  scheme: Scheme
  pixels: Float32Array
}

async function prepare(build: () => Promise<Graph>): Promise<Case> {
  const graph = await build()
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const pixels = normals(11, IMAGES * rows * width)
  return { graph, pixels, scheme: simpleScheme(graph, pixels.subarray(0, rows * width), 'full') }
}

async function run(plan: Plan, pixels: Float32Array, path?: string): Promise<Float32Array> {
  const session = new Session(plan, { path, threads: 2 })
  try {
    return await session.run(pixels, IMAGES)
  } finally {
    session.dispose()
  }
}

function reference({ graph, scheme, pixels }: Case): Float64Array {
  const perImage = pixels.length / IMAGES
  const images = Array.from({ length: IMAGES }, (_, i) => pixels.subarray(i * perImage, (i + 1) * perImage))
  return Float64Array.from(images.flatMap((image) => [...runCodedReference(graph, scheme, image)]))
}

describe.each<[string, () => Promise<Graph>]>([
  ['ViT', smallVit],
  ['Swin', smallSwin],
])('a plan of %s', (_, build) => {
  let tested: Case
  beforeAll(async () => {
    tested = await prepare(build)
  })

  it('means what the codes mean', async () => {
    const { graph, scheme, pixels } = tested
    const found = await run(lower(graph, scheme).plan, pixels)
    expect(relativeError(found, reference(tested))).toBeLessThan(1e-6)
    const float = await run(lower(graph, null).plan, pixels)
    expect(relativeError(found, float)).toBeGreaterThan(1e-3)
    expect(relativeError(found, float)).toBeLessThan(0.5)
  })

  it('gives the same bits on every path and for every batch', async () => {
    const { graph, scheme, pixels } = tested
    const first = await run(lower(graph, scheme, { batch: 1 }).plan, pixels, 'portable')
    for (const path of runningPaths) {
      for (const batch of [1, 2, 8]) expect(await run(lower(graph, scheme, { batch }).plan, pixels, path)).toEqual(first)
    }
  })

  it('holds no floats between the patches and the logits, and sums in place', () => {
    const { graph, scheme } = tested
    const { plan } = lower(graph, scheme, { batch: 1 })
    expect(() => assertNoFloatEdges(plan)).not.toThrow()
    const sums = plan.ops.flatMap((op) => (op.op === 'linearCodes' && op.residualCode ? [[op.residual?.offset, op.y.offset]] : []))
    expect(sums.length).toBe(2 * graph.nodes.filter(({ op }) => op === 'attention').length)
    for (const [residual, sum] of sums) expect(residual).toBe(sum)
    const partial = lower(graph, { ...scheme, coverage: 'partial' }, { batch: 1 }).plan
    expect(() => assertNoFloatEdges(partial)).toThrow(/^(embeddings|patch_embedding) reads or writes floats between the patches/)
  })

  it('has other codes beside those of a partial plan, which does not look at them', () => {
    const { graph, scheme } = tested
    const partial = { ...scheme, coverage: 'partial' as const }
    const names = new Set(operandsOf(graph, partial).map(({ name }) => name))
    const only = { ...partial, edges: new Map([...scheme.edges].filter(([name]) => names.has(name))) }
    expect(only.edges.size).toBeLessThan(scheme.edges.size)
    expect(lower(graph, partial).plan.ops).toEqual(lower(graph, only).plan.ops)
  })
})

it('products may read the residual stream', async () => {
  const direct = await prepare(async () => {
    const graph = await smallVit()
    const input = 'layers.1.attention.sum'
    return { ...graph, nodes: graph.nodes.map((node) => (node.name === 'layers.1.mlp.fc1' ? { ...node, input } : node)) as Graph['nodes'] }
  })
  const operand = operandsOf(direct.graph, direct.scheme).find(({ name }) => name === 'layers.1.attention.sum')
  expect(operand?.kind).toBe('input')
  expect(relativeError(await run(lower(direct.graph, direct.scheme).plan, direct.pixels), reference(direct))).toBeLessThan(1e-6)
})

it('says which edge has no code', async () => {
  const { graph, scheme } = await prepare(smallVit)
  const without = (name: string) => ({ ...scheme, edges: new Map([...scheme.edges].filter(([edge]) => edge !== name)) })
  expect(() => lower(graph, without('embeddings'))).toThrow('layers.0.norm1: residual embeddings has no code')
  expect(() => lower(graph, without('layers.1.mlp.fc1'))).toThrow('layers.1.mlp.gelu: gelu input layers.1.mlp.fc1 has no code')
  expect(() => lower(graph, without('layers.0.attention.logits'))).toThrow('logits layers.0.attention.logits has no code')
})

it('refuses what reads floats between products', async () => {
  const { graph } = await prepare(smallVit)
  // The output of the attention layer is read twice, so that no addition can move into it.
  const nodes = graph.nodes.map((node) => (node.name === 'layers.1.norm1' ? { ...node, input: 'layers.0.attention.output' } : node))
  const broken = { ...graph, nodes } as Graph
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const scheme = simpleScheme(broken, normals(1, rows * width), 'full')
  expect(() => lower(broken, scheme)).toThrow('layers.0.attention.sum: with full coverage it has to follow a linear layer')
})

it('the rows of a map are merged as codes, with the factors of each', async () => {
  const { graph, scheme } = await prepare(smallSwin)
  const { plan } = lower(graph, scheme)
  const gather = plan.ops.find(({ op }) => op === 'gather')
  expect(gather).toMatchObject({ elementBytes: 1, zero: 128 })
  expect(operandsOf(graph, scheme).some(({ name }) => name === gather?.name)).toBe(false)
  const code = scheme.edges.get('stages.0.blocks.1.sum') as Code
  const factors = Float32Array.from({ length: 12 }, (_, i) => (i === 5 ? 3 : 1))
  const broken = { ...scheme, edges: new Map([...scheme.edges, ['stages.0.blocks.1.sum', { ...code, factors }]]) }
  expect(() => lower(graph, broken)).toThrow('stages.1.merge.norm: the factors of stages.1.merge are not powers of two')
  const norm = { ...scheme, edges: new Map([...scheme.edges, ['norm', { ...(scheme.edges.get('norm') as Code), factors }]]) }
  expect(() => lower(graph, norm)).toThrow(/factors/)
})
