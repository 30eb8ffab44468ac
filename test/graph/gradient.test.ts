import addon from '#addon'
import { gradientGraph } from '../../lib/graph/gradient.js'
import type { Graph, Node, Tensor } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import { constantShapes, inferEdges } from '../../lib/graph/validate.js'
import { randomSwinOf } from '../../lib/models/random.js'
import { Session } from '../../lib/runtime/session.js'
import { normals } from '../support/random.js'
import { runReference } from '../support/reference.js'
import { smallVit } from '../support/small-vit.js'

const IMAGES = 3
const paths = addon.paths().filter(({ runs }) => runs)

function sizeOf(graph: Graph, edge: string): number {
  const { rows, width } = graph.edges.get(edge) as { rows: number; width: number }
  return rows * width
}

interface Case {
  images: Float32Array[]
  seeds: Float32Array[]
}

const randomCase = (graph: Graph): Case => ({
  images: Array.from({ length: IMAGES }, (_, i) => normals(20 + i, sizeOf(graph, graph.input))),
  seeds: Array.from({ length: IMAGES }, (_, i) => normals(40 + i, sizeOf(graph, graph.output))),
})

/** The gradients of seed * logits with respect to every edge that has one, for each image. */
async function gradientsOf(graph: Graph, { images, seeds }: Case, path?: string, threads = 2): Promise<Map<string, Float32Array[]>> {
  const { graph: whole, gradients } = gradientGraph(graph)
  const names = [...new Set(gradients.values())]
  const { plan, outputs } = lower(whole, null, { outputs: names, batch: 2 })
  const session = new Session(plan, { path, threads })
  try {
    const input = Float32Array.from(images.flatMap((image, i) => [...image, ...seeds[i]]))
    const found = await session.run(input, images.length)
    const parts = new Map<string, Float32Array[]>(names.map((name) => [name, []]))
    let offset = 0
    for (const _ of images) {
      for (const { name, rows, width } of outputs) {
        parts.get(name)?.push(found.subarray(offset, offset + rows * width))
        offset += rows * width
      }
    }
    return new Map([...gradients].map(([edge, name]) => [edge, parts.get(name) as Float32Array[]]))
  } finally {
    session.dispose()
  }
}

/** d(seed * logits) when an edge moves along a direction: central differences in doubles. */
function slopeAlong(graph: Graph, image: Float32Array, seed: Float32Array, edge: string, direction: Float32Array): number {
  const loss = (step: number) => {
    const edges = runReference(graph, image, (name, { data }) => {
      if (name === edge) for (let i = 0; i < data.length; i++) data[i] += step * direction[i]
    })
    return edges.get(graph.output)?.data.reduce((sum, logit, i) => sum + logit * seed[i], 0) as number
  }
  const step = 1e-4
  return (loss(step) - loss(-step)) / (2 * step)
}

const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0))

/** Every gradient on every path against differences along random directions, which no wrong element survives. */
async function expectGradients(graph: Graph, edges: string[]): Promise<void> {
  const given = randomCase(graph)
  for (const { name: path } of paths) {
    const gradients = await gradientsOf(graph, given, path)
    for (const edge of edges) {
      const found = gradients.get(edge)
      if (!found) throw new Error(`${edge} has no gradient`)
      for (const [i, gradient] of found.entries()) {
        const direction = normals(60 + i, gradient.length)
        const slope = slopeAlong(graph, given.images[i], given.seeds[i], edge, direction)
        const product = gradient.reduce((sum, g, j) => sum + g * direction[j], 0)
        const error = Math.abs(product - slope) / norm(gradient)
        if (!(error < 3e-4)) throw new Error(`${path}, ${edge}, image ${i}: ${product} along a direction, differences give ${slope}`)
      }
    }
  }
}

/** A graph of nodes on an image of `rows` rows of `width`; the last node writes one row. */
function graphOf(rows: number, width: number, nodes: Node[], constants: Map<string, Tensor>): Graph {
  const edges = inferEdges(nodes, 'pixels', { rows, width }, constantShapes({ constants }))
  return { architecture: 'test', nodes, edges, constants, input: 'pixels', output: nodes[nodes.length - 1].output }
}

const tensor = (seed: number, ...shape: number[]): Tensor => ({
  shape,
  data: normals(
    seed,
    shape.reduce((a, b) => a * b, 1),
  ),
})
const named = (name: string) => ({ name, output: name })

describe('gradients of a small vision transformer', () => {
  it('are those of differences at every edge', async () => {
    const graph = await smallVit()
    const { gradients } = gradientGraph(graph)
    const all = [...graph.edges.keys(), 'layers.0.attention.probabilities', 'layers.1.attention.probabilities']
    expect(all.filter((edge) => !gradients.has(edge))).toEqual(['pixels'])
    await expectGradients(graph, [...gradients.keys()])
  })

  it('are not zero where images are told apart', async () => {
    const graph = await smallVit({ distillationToken: false, distillationHead: false })
    for (const found of (await gradientsOf(graph, randomCase(graph))).values()) {
      for (const gradient of found) expect(norm(gradient)).toBeGreaterThan(1e-3)
    }
  })

  it('do not depend on the number of threads', async () => {
    const graph = await smallVit()
    const given = randomCase(graph)
    expect(await gradientsOf(graph, given, undefined, 1)).toEqual(await gradientsOf(graph, given, undefined, 3))
  })

  it('leave the logits alone', async () => {
    const graph = await smallVit()
    const { images, seeds } = randomCase(graph)
    const run = async (whole: Graph, input: Float32Array[]) => {
      const session = new Session(lower(whole, null).plan)
      try {
        return await session.run(Float32Array.from(input.flatMap((part) => [...part])), IMAGES)
      } finally {
        session.dispose()
      }
    }
    const both = images.flatMap((image, i) => [image, seeds[i]])
    expect(await run(gradientGraph(graph).graph, both)).toEqual(await run(graph, images))
  })
})

it('gradients of a small Swin transformer are those of differences at every edge', async () => {
  const stages = [
    { depth: 2, hidden: 18, heads: 2, intermediate: 30 },
    { depth: 2, hidden: 36, heads: 3, intermediate: 40 },
  ]
  // A map of 6 x 6 with shifted windows, then one of 3 x 3.
  const patches = { channels: 3, imageHeight: 12, imageWidth: 12, patchHeight: 2, patchWidth: 2 }
  const graph = await randomSwinOf({ ...patches, stages, window: [3, 3], clip: 'both', eps: 1e-5, classes: 7 }, 3)
  const { gradients } = gradientGraph(graph)
  expect([...graph.edges.keys()].filter((edge) => !gradients.has(edge))).toEqual(['pixels'])
  await expectGradients(graph, [...gradients.keys()])
})

describe('the gradient of', () => {
  const head: Node[] = [
    { ...named('row'), op: 'row', input: 'body', row: 1 },
    { ...named('logits'), op: 'linear', input: 'row', weight: 'head', bias: null },
  ]
  const body = (nodes: Node[], constants: [string, Tensor][] = []): Graph =>
    graphOf(5, 12, [...nodes, ...head], new Map([['head', tensor(1, 7, 12)], ...constants]))

  it('a linear layer without a bias', () =>
    expectGradients(body([{ ...named('body'), op: 'linear', input: 'pixels', weight: 'w', bias: null }], [['w', tensor(2, 12, 12)]]), [
      'pixels',
      'body',
    ]))

  it('GELU and a scale that follow no linear layer', () =>
    expectGradients(
      body(
        [
          { ...named('gelu'), op: 'gelu', input: 'pixels' },
          { ...named('body'), op: 'scale', input: 'gelu', factor: 'f' },
        ],
        [['f', tensor(2, 12)]],
      ),
      ['pixels', 'gelu', 'body'],
    ))

  it('LayerNorm', () =>
    expectGradients(
      body(
        [{ ...named('body'), op: 'layernorm', input: 'pixels', gamma: 'g', beta: 'b', eps: 1e-3 }],
        [
          ['g', tensor(2, 12)],
          ['b', tensor(3, 12)],
        ],
      ),
      ['pixels'],
    ))

  it('attention of an edge with itself, and of its probabilities', () =>
    expectGradients(body([{ ...named('body'), op: 'attention', q: 'pixels', k: 'pixels', v: 'pixels', heads: 3, scale: 0.4 }]), [
      'pixels',
      'body.probabilities',
    ]))

  it('merged rows of a map with odd sides', () =>
    expectGradients(
      graphOf(
        15,
        6,
        [
          { ...named('gelu'), op: 'gelu', input: 'pixels' },
          { ...named('merged'), op: 'merge', input: 'gelu', height: 5, width: 3 },
          { ...named('mean'), op: 'mean', input: 'merged' },
          { ...named('logits'), op: 'linear', input: 'mean', weight: 'head', bias: null },
        ],
        new Map([['head', tensor(1, 7, 24)]]),
      ),
      ['pixels', 'gelu', 'merged', 'mean'],
    ))

  it('an edge that is added to and multiplied with itself and read by others', () =>
    expectGradients(
      body([
        { ...named('twice'), op: 'add', left: 'pixels', right: 'pixels' },
        { ...named('gelu'), op: 'gelu', input: 'twice' },
        { ...named('sum'), op: 'add', left: 'gelu', right: 'pixels' },
        { ...named('product'), op: 'multiply', left: 'twice', right: 'gelu' },
        { ...named('square'), op: 'multiply', left: 'product', right: 'product' },
        { ...named('body'), op: 'add', left: 'sum', right: 'square' },
      ]),
      ['pixels', 'twice', 'gelu', 'sum', 'product', 'square', 'body'],
    ))

  it('an edge without influence is missing', () => {
    const graph = body([
      { ...named('body'), op: 'gelu', input: 'pixels' },
      { ...named('idle'), op: 'gelu', input: 'pixels' },
    ])
    expect(gradientGraph(graph).gradients.has('idle')).toBe(false)
  })

  it('a gradient is not known', () => {
    const graph = body([{ ...named('body'), op: 'geluGradient', input: 'pixels', gradient: 'pixels' }])
    expect(() => gradientGraph(graph)).toThrow('body: the gradient of geluGradient is not known')
  })
})
