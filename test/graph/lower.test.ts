import addon from '#addon'
import { takeFineFirst } from '../../lib/graph/coverage.js'
import { assertNoFloatProducts } from '../../lib/graph/floats.js'
import type { Edge, Graph } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import { type Code, probabilitiesOf, type Scheme } from '../../lib/graph/scheme.js'
import type { Plan } from '../../lib/runtime/addon-types.js'
import { Session } from '../../lib/runtime/session.js'
import { runCodedReference } from '../support/coded-reference.js'
import { relativeError } from '../support/golden.js'
import { normals } from '../support/random.js'
import { simpleScheme } from '../support/random-scheme.js'
import { type Matrix, runReference } from '../support/reference.js'
import { SMALL_SHAPE, smallVit } from '../support/small-vit.js'

const PIXELS = SMALL_SHAPE.channels * SMALL_SHAPE.imageHeight * SMALL_SHAPE.imageWidth
const IMAGES = 5
const pixels = normals(11, IMAGES * PIXELS)
const image = (i: number) => pixels.subarray(i * PIXELS, (i + 1) * PIXELS)
const paths = addon.paths().filter(({ runs }) => runs)

async function run(plan: Plan, images = IMAGES, path?: string): Promise<Float32Array> {
  const session = new Session(plan, { path, threads: 2 })
  try {
    return await session.run(pixels.subarray(0, images * PIXELS), images)
  } finally {
    session.dispose()
  }
}

let graph: Graph
beforeAll(async () => {
  graph = await smallVit()
})

describe('a float plan', () => {
  let expected: Map<string, Matrix>[]
  beforeAll(() => {
    expected = Array.from({ length: IMAGES }, (_, i) => runReference(graph, image(i)))
  })
  const concatenated = (names: string[]) =>
    Float64Array.from(expected.flatMap((edges) => names.flatMap((name) => [...(edges.get(name) as Matrix).data])))

  it.each(paths.map(({ name }) => name))('computes the logits of the reference on %s', async (path) => {
    for (const batch of [1, 2, 7]) {
      expect(relativeError(await run(lower(graph, null, { batch }).plan, IMAGES, path), concatenated([graph.output]))).toBeLessThan(3e-6)
    }
  })

  it('returns any edge, also those that kernels fuse away, in the order asked for', async () => {
    const attention = graph.nodes.find(({ op }) => op === 'attention') as { name: string }
    const names = [
      'layers.1.mlp.fc1',
      'pixels',
      'class_token',
      probabilitiesOf(attention),
      'patches',
      'embeddings',
      'patch_embedding',
      'layers.0.attention',
      'layers.0.attention.output',
      'layers.0.mlp.gelu',
      'layers.1.sum',
      'logits',
    ]
    const { plan, outputs } = lower(graph, null, { outputs: names })
    expect(outputs.map(({ name }) => name)).toEqual(names)
    const found = await run(plan)
    const all = concatenated(names)
    expect(found.length).toBe(all.length)
    let offset = 0
    for (const { name, rows, width } of outputs) {
      const part = [...found.subarray(offset, offset + rows * width)]
      const error = relativeError(part, (expected[0].get(name) as Matrix).data)
      if (!(error < 3e-6)) throw new Error(`${name}: relative error ${error}`)
      offset += rows * width
    }
    expect(relativeError(found, all)).toBeLessThan(3e-6)
  })

  it('leaves out what the outputs do not need', () => {
    const { plan } = lower(graph, null, { outputs: ['layers.0.norm1'] })
    expect(plan.ops.map(({ op }) => op)).toEqual(['patchify', 'copyRows', 'linearF32', 'layernorm'])
  })

  it('observes edges and probabilities without changing the logits', async () => {
    const attention = graph.nodes.find(({ op }) => op === 'attention') as { name: string }
    const names = ['pixels', 'layers.0.norm1', 'layers.0.mlp.gelu', 'layers.1.mlp.fc1', 'class_token', probabilitiesOf(attention)]
    const settings = { sampleRows: 3, sampleStride: 2 }
    const { plan, states } = lower(graph, null, { batch: 2, observe: new Map(names.map((name) => [name, settings])) })
    expect([...states.keys()].sort()).toEqual([...names].sort())
    expect(await run(plan)).toEqual(await run(lower(graph, null, { batch: 2 }).plan))
    for (const name of names) {
      const { rows, width } = expected[0].get(name) as Matrix
      const state = new Uint8Array(states.get(name)?.byteLength as number)
      states.get(name)?.read(0, state)
      const doubles = new Float64Array(state.buffer, 0, 1 + 4 * width)
      expect(doubles[0]).toBe(IMAGES * rows)
      const sums = new Float64Array(width)
      for (const edges of expected) (edges.get(name) as Matrix).data.forEach((x, i) => (sums[i % width] += x))
      expect(Math.max(...doubles.slice(1, 1 + width).map((sum, i) => Math.abs(sum - sums[i])))).toBeLessThan(1e-3)
      const samples = new Float32Array(state.buffer, 8 * doubles.length, width)
      expect(relativeError(samples, (expected[0].get(name) as Matrix).data.subarray(0, width))).toBeLessThan(1e-5)
    }
  })

  it('does not write over a sum that is read again later', async () => {
    const nodes = graph.nodes.map((node) =>
      node.name === 'layers.1.sum' && node.op === 'add' ? { ...node, left: 'layers.0.attention.sum' } : node,
    )
    const logits = runReference({ ...graph, nodes }, image(0)).get(graph.output) as Matrix
    expect(relativeError(await run(lower({ ...graph, nodes }, null).plan, 1), logits.data)).toBeLessThan(3e-6)
  })

  it('computes scales behind linear layers and behind GELU', async () => {
    const scaled: Graph = { ...graph, nodes: [], edges: new Map(graph.edges), constants: new Map(graph.constants) }
    for (const node of graph.nodes) {
      const after = node.name === 'layers.0.mlp.gelu' || node.name === 'layers.1.attention.value'
      scaled.nodes.push(after ? { ...node, output: `${node.output}.raw` } : node)
      if (!after) continue
      const edge = graph.edges.get(node.output) as { rows: number; width: number }
      scaled.edges.set(`${node.output}.raw`, edge)
      scaled.constants.set(`${node.name}.factor`, { shape: [edge.width], data: normals(3, edge.width) })
      scaled.nodes.push({
        name: `${node.name}.scale`,
        output: node.output,
        op: 'scale',
        input: `${node.output}.raw`,
        factor: `${node.name}.factor`,
      })
    }
    const logits = runReference(scaled, image(0)).get(scaled.output) as Matrix
    expect(relativeError(await run(lower(scaled, null).plan, 1), logits.data)).toBeLessThan(3e-6)
  })
})

describe('a quantized plan', () => {
  let scheme: Scheme
  beforeAll(() => {
    scheme = simpleScheme(graph, image(0))
  })

  it('means what the codes mean', async () => {
    const found = await run(lower(graph, scheme).plan)
    const expected = Float64Array.from(Array.from({ length: IMAGES }, (_, i) => [...runCodedReference(graph, scheme, image(i))]).flat())
    expect(relativeError(found, expected)).toBeLessThan(1e-6)
    const float = runReference(graph, image(0)).get(graph.output) as Matrix
    const distance = relativeError(found.subarray(0, SMALL_SHAPE.classes), float.data)
    expect(distance).toBeGreaterThan(1e-3)
    expect(distance).toBeLessThan(0.3)
  })

  it('means the same for codes without negative levels, also in attention', async () => {
    const levels = Array.from({ length: 32 }, (_, i) => i)
    const edges = new Map(scheme.edges)
    for (const name of ['layers.0.norm2', 'layers.0.attention.query', 'layers.1.attention.value', 'norm']) {
      edges.set(name, { bits: 5, family: 'uniform', levels, step: Math.fround(0.1) })
    }
    const unsigned = { ...scheme, edges }
    const found = await run(lower(graph, unsigned).plan, 1)
    expect(relativeError(found, runCodedReference(graph, unsigned, image(0)))).toBeLessThan(1e-6)
  })

  it('gives the same bits on every path and for every batch', async () => {
    const first = await run(lower(graph, scheme, { batch: 1 }).plan, IMAGES, 'portable')
    for (const { name } of paths) {
      for (const batch of [1, 3, 8]) expect(await run(lower(graph, scheme, { batch }).plan, IMAGES, name)).toEqual(first)
    }
  })

  it('shares weights between plans, and holds no product in float', () => {
    const [a, b] = [lower(graph, scheme).plan, lower(graph, scheme).plan]
    const shared = a.blobs.filter((blob) => b.blobs.includes(blob))
    expect(shared.length).toBe(a.blobs.length - 1)
    expect(() => assertNoFloatProducts(a)).not.toThrow()
    expect(() => assertNoFloatProducts(lower(graph, null).plan)).toThrow('patch_embedding is a matrix product in float')
  })

  it('says which operand has no code', () => {
    const without = (name: string) => ({ ...scheme, edges: new Map([...scheme.edges].filter(([edge]) => edge !== name)) })
    expect(() => lower(graph, without('layers.1.mlp.gelu'))).toThrow('layers.1.mlp.fc2: input layers.1.mlp.gelu has no code')
    const weights = new Map([...scheme.weights].filter(([name]) => name !== 'head.weight'))
    expect(() => lower(graph, { ...scheme, weights })).toThrow('head: weight head.weight has no code')
  })

  it('refuses a float reader of codes', () => {
    const nodes = graph.nodes.flatMap((node) =>
      node.name === 'layers.0.attention.sum' && node.op === 'add' ? [{ ...node, left: 'layers.0.norm1' }] : [node],
    )
    expect(() => lower({ ...graph, nodes }, scheme)).toThrow(
      'layers.0.norm1 is stored as codes, but layers.0.attention.output reads it as floats',
    )
  })

  it('neither returns nor observes edges', () => {
    expect(() => lower(graph, scheme, { outputs: ['embeddings'] })).toThrow('only a float plan')
  })
})

it('takes a step for each head of attention', async () => {
  const scheme = simpleScheme(graph, image(0))
  const edges = new Map(scheme.edges)
  const change = (name: string, factors: number[]) => edges.set(name, { ...(edges.get(name) as Code), factors: Float32Array.from(factors) })
  change('layers.0.attention.query', [1, 0.7, 1.3])
  change('layers.0.attention.value', [0.9, 1.1, 0.8])
  change('layers.1.attention.key', [1.5, 1, 0.6])
  change('layers.1.attention.probabilities', [0.5, 1, 0.75])
  const heads = { ...scheme, edges }
  const found = await run(lower(graph, heads).plan, 1)
  expect(relativeError(found, runCodedReference(graph, heads, image(0)))).toBeLessThan(1e-6)
  expect(found).not.toEqual(await run(lower(graph, scheme).plan, 1))
  for (const { name } of paths) expect(await run(lower(graph, heads).plan, 1, name)).toEqual(found)
})

/** What attention and LayerNorm read. */
const SIGNED = /query|key|value|sum|embeddings/

it.each(['partial', 'full'] as const)('gives the first row of each image all levels of a byte, %s coverage', async (coverage) => {
  const scheme = simpleScheme(graph, image(0), coverage)
  /** Four levels that reach as far, with most of a byte between them. */
  const sparse = ({ step, levels, relative }: Code, signed: boolean): Code => {
    const far = signed || levels[0] < 0 ? [-120, -40, 0, 120] : [0, 20, 90, 240]
    const reach = step * Math.max(-levels[0], levels[levels.length - 1])
    const fineFirst = signed ? -128 : far[0] < 0 ? -126 : 0
    return { bits: 2, family: 'codebook', levels: far, step: Math.fround(reach / far[3]), fineFirst, ...(relative && { relative }) }
  }
  const takers = takeFineFirst(graph)
  const edges = new Map([...scheme.edges].map(([name, code]) => [name, takers.has(name) ? sparse(code, SIGNED.test(name)) : code]))
  const fine = { ...scheme, edges }
  const found = await run(lower(graph, fine).plan)
  const expected = Float64Array.from(Array.from({ length: IMAGES }, (_, i) => [...runCodedReference(graph, fine, image(i))]).flat())
  expect(relativeError(found, expected)).toBeLessThan(1e-6)
  for (const { name } of paths) expect(await run(lower(graph, fine).plan, IMAGES, name)).toEqual(found)
  const coarse = new Map([...edges].map(([name, code]) => [name, { ...code, fineFirst: undefined }]))
  expect(relativeError(await run(lower(graph, { ...scheme, edges: coarse }).plan), found)).toBeGreaterThan(1e-2)
})

it('keeps about 256 rows in flight unless told otherwise', async () => {
  expect(lower(graph, null).plan.batch).toBe(Math.ceil(256 / 8))
  expect(() => lower(graph, null, { batch: 0 })).toThrow('a batch of 0')
  expect(() => lower(graph, null, { outputs: ['nowhere'] })).toThrow('there is no edge nowhere')
})

it('computes positions, GELU, scales and sums wherever they stand', async () => {
  const changed: Graph = { ...graph, nodes: [], constants: new Map(graph.constants), edges: new Map(graph.edges) }
  changed.constants.set('factor', { shape: [SMALL_SHAPE.hidden], data: normals(4, SMALL_SHAPE.hidden) })
  for (const node of graph.nodes) {
    changed.nodes.push(node)
    if (node.op !== 'layernorm' || node.input === 'class_token' || node.input === 'distillation_token') continue
    // The norm's GELU, scaled and added to the norm, instead of the norm.
    const { name, output } = node
    changed.nodes.pop()
    changed.nodes.push(
      { ...node, output: `${name}.raw` },
      { name: `${name}.gelu`, output: `${name}.gelu`, op: 'gelu', input: `${name}.raw` },
      { name: `${name}.scale`, output: `${name}.scale`, op: 'scale', input: `${name}.gelu`, factor: 'factor' },
      { name: `${name}.sum`, output, op: 'add', left: `${name}.raw`, right: `${name}.scale` },
    )
    for (const part of ['raw', 'gelu', 'scale']) changed.edges.set(`${name}.${part}`, graph.edges.get(output) as Edge)
  }
  const expected = runReference(changed, image(0))
  const outputs = ['patch_embedding', 'layers.0.norm1.gelu', changed.output]
  const { plan } = lower(changed, null, { outputs })
  const found = await run(plan, 1)
  expect(relativeError(found, Float64Array.from(outputs.flatMap((name) => [...(expected.get(name) as Matrix).data])))).toBeLessThan(3e-6)
  expect(plan.ops.filter(({ op }) => op === 'linearF32').length).toBe(graph.nodes.filter(({ op }) => op === 'linear').length)

  const scheme = simpleScheme(changed, image(0))
  const quantized = await run(lower(changed, scheme).plan, 1)
  expect(relativeError(quantized, runCodedReference(changed, scheme, image(0)))).toBeLessThan(1e-6)
})
