import { gradientGraph } from '../../lib/graph/gradient.js'
import type { Graph } from '../../lib/graph/graph.js'
import { constantGradients } from '../../lib/quant/gradients.js'
import { normals } from '../support/random.js'
import { runReference } from '../support/reference.js'
import { smallVit } from '../support/small-vit.js'

const IMAGES = 3

/** A vision transformer with scales behind its MLPs, whose heads read one norm twice. */
async function scaledVit(): Promise<Graph> {
  const graph = await smallVit()
  const nodes: Graph['nodes'] = []
  for (const node of graph.nodes) {
    nodes.push(node)
    if (!node.name.endsWith('mlp.fc2') || node.op !== 'linear') continue
    const edge = graph.edges.get(node.output) as { rows: number; width: number }
    const [raw, factor] = [`${node.name}.raw`, `${node.name}.factor`]
    nodes.pop()
    nodes.push({ ...node, output: raw }, { name: `${node.name}.scale`, output: node.output, op: 'scale', input: raw, factor })
    graph.edges.set(raw, edge)
    graph.constants.set(factor, { shape: [edge.width], data: normals(9, edge.width) })
  }
  const shared = nodes.map((node) => (node.name === 'distillation_norm' ? { ...node, gamma: 'norm.weight', beta: 'norm.bias' } : node))
  return { ...graph, nodes: shared as Graph['nodes'] }
}

let graph: Graph
let calibration: { pixels: Float32Array; images: number }
let seeds: Float32Array
let pixelCount: number
let classes: number
beforeAll(async () => {
  graph = await scaledVit()
  const image = graph.edges.get(graph.input) as { rows: number; width: number }
  pixelCount = image.rows * image.width
  classes = (graph.edges.get(graph.output) as { width: number }).width
  calibration = { pixels: normals(4, IMAGES * pixelCount), images: IMAGES }
  seeds = normals(5, IMAGES * classes)
})

/** Sum over the images of seed * logits. */
function loss(model: Graph): number {
  let sum = 0
  for (let i = 0; i < IMAGES; i++) {
    const logits = runReference(model, calibration.pixels.subarray(i * pixelCount, (i + 1) * pixelCount)).get(model.output)
    logits?.data.forEach((logit, k) => {
      sum += logit * seeds[i * classes + k]
    })
  }
  return sum
}

/** The loss with a constant moved along a direction, in doubles: central differences. */
function slopeAlong(name: string, direction: Float32Array): number {
  const { shape, data } = graph.constants.get(name) as { shape: number[]; data: Float32Array }
  const moved = (step: number): Graph => {
    const values = Float64Array.from(data, (x, i) => x + step * direction[i]) as unknown as Float32Array
    return { ...graph, constants: new Map([...graph.constants, [name, { shape, data: values }]]) }
  }
  const step = 1e-4
  return (loss(moved(step)) - loss(moved(-step))) / (2 * step)
}

it('gradients of constants are those of differences', async () => {
  const model = gradientGraph(graph)
  const names = [...model.constants.keys()]
  const without = [...graph.constants.keys()].filter((name) => !names.includes(name))
  expect(without).toEqual(['embeddings.prefix', 'embeddings.positions', 'distillation_norm.weight', 'distillation_norm.bias'])
  const gradients = await constantGradients(model, calibration, seeds, names, { threads: 2 })
  for (const name of names) {
    const gradient = gradients.get(name) as Float32Array
    expect(gradient.length).toBe(graph.constants.get(name)?.data.length)
    const direction = normals(7, gradient.length)
    const product = gradient.reduce((sum, g, i) => sum + g * direction[i], 0)
    const size = Math.sqrt(gradient.reduce((sum, g) => sum + g ** 2, 0))
    const slope = slopeAlong(name, direction)
    if (!(Math.abs(product - slope) < 3e-4 * size + 1e-6)) {
      throw new Error(`${name}: ${product} along a direction, differences give ${slope}`)
    }
  }
})

it('gradients of constants do not depend on the number of threads', async () => {
  const model = gradientGraph(graph)
  const names = ['layers.0.mlp.fc1.weight', 'norm.weight', 'patch_embedding.bias']
  const runs = await Promise.all([1, 3].map((threads) => constantGradients(model, calibration, seeds, names, { threads })))
  expect(runs[0]).toEqual(runs[1])
})

it('names a constant without a gradient', async () => {
  const asked = constantGradients(gradientGraph(graph), calibration, seeds, ['embeddings.positions'])
  await expect(asked).rejects.toThrow('embeddings.positions: there is no gradient with respect to this constant')
})
