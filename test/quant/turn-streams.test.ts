import { breather } from '../../lib/codes/breathe.js'
import type { Graph } from '../../lib/graph/graph.js'
import { observe } from '../../lib/quant/observe.js'
import { findOperands, type LinearNode } from '../../lib/quant/operands.js'
import { quantizerOf } from '../../lib/quant/quantizer.js'
import { rotate } from '../../lib/quant/rotate.js'
import { streamLosses, streamOperands, streamsThatGain } from '../../lib/quant/turn-streams.js'
import { normals } from '../support/random.js'
import { smallSwin } from '../support/small-swin.js'
import { smallVit } from '../support/small-vit.js'

const IMAGES = 8
const breathe = breather(undefined)

function calibrationOf(graph: Graph) {
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  return { pixels: normals(1, IMAGES * rows * width), images: IMAGES }
}

/** Changes a constant in place. */
function change(graph: Graph, name: string, to: (value: number, i: number, width: number) => number): void {
  const { shape, data } = graph.constants.get(name) as { shape: number[]; data: Float32Array }
  graph.constants.set(name, { shape, data: data.map((value, i) => to(value, i, shape[shape.length - 1])) })
}

/** Tokens reach fifty times as far in one channel as in the others. */
async function withOutlier(): Promise<Graph> {
  const graph = await smallVit()
  for (const name of ['embeddings.prefix', 'embeddings.positions']) change(graph, name, (x, i, width) => (i % width === 5 ? 50 : 1) * x)
  return graph
}

/**
 * Nothing but 1 and -1 is in any token, which every code holds exactly, and layers add nothing to it: what a rotation makes of them fills
 * all values between.
 */
async function ofSigns(): Promise<Graph> {
  const graph = await smallVit()
  const sign = (_: number, i: number, width: number) => (((i % width) + Math.floor(i / width)) % 2 ? 1 : -1)
  // The first two tokens are the prefix, to which positions are added.
  change(graph, 'embeddings.prefix', sign)
  change(graph, 'embeddings.positions', (_, i, width) => (i < 2 * width ? 0 : sign(0, i, width)))
  const writers = graph.nodes.filter((node) => node.op === 'linear' && /^patch_embedding$|attention\.output$|fc2$/.test(node.name))
  expect(writers).toHaveLength(5)
  for (const node of writers as LinearNode[]) {
    for (const name of [node.weight, node.bias as string]) change(graph, name, () => 0)
  }
  return graph
}

/** Without smoothing, which can do much of what a rotation does. */
async function gains(graph: Graph, coverage: 'full' | 'partial'): Promise<number[]> {
  const losses = async (model: Graph) => {
    const operands = streamOperands(model, findOperands(model, coverage).activations)
    return streamLosses(model, operands, (await observe(model, operands, calibrationOf(model))).observations, false, breathe)
  }
  return [...streamsThatGain(graph, await losses(graph), await losses(await rotate(graph)))]
}

describe.each(['full', 'partial'] as const)('with %s coverage', (coverage) => {
  test('a stream with an outlier gains by a rotation, one of signs does not, and the search does as it is told', async () => {
    for (const [graph, expected] of [
      [await withOutlier(), [0]],
      [await ofSigns(), []],
    ] as const) {
      expect(await gains(graph, coverage)).toEqual(expected)
      const quantize = quantizerOf(graph, calibrationOf(graph), { preset: 'best', coverage, without: ['head-rotation', 'smoothing'] })
      const { float } = await quantize({ weightBits: 8, activationBits: 8 })
      const turned = float.constants.get('embeddings.prefix')?.data
      expect(turned).toEqual((expected.length > 0 ? await rotate(graph) : graph).constants.get('embeddings.prefix')?.data)
    }
  })

  test('operands are what LayerNorm writes, and what is stored of streams, of those alone that can be turned', async () => {
    const graph = await smallSwin()
    const names = streamOperands(graph, findOperands(graph, coverage).activations).map(({ name }) => name)
    const norms = graph.nodes.flatMap((node) => (node.op === 'layernorm' ? [node.output] : []))
    expect(names.length).toBeGreaterThan(0)
    expect(names.some((name) => !norms.includes(name))).toBe(coverage === 'full')
    // The first stage begins with a LayerNorm, which no rotation passes.
    expect(names.filter((name) => name.startsWith('stages.0'))).toEqual([])
  })
})

test.each([
  ['less than the geometric mean before', [4, 1], [1, 3.9], 1],
  ['more than that', [4, 1], [1, 4.1], 0],
  ['nothing known of an edge that is always 0', [0, 1], [0, 0.9], 1],
  ['the same, and more', [0, 1], [0, 1.1], 0],
  ['a loss where there was none', [0, 1], [1e-9, 0.1], 0],
  ['no loss where there was one', [1e-9, 1], [0, 10], 1],
])('the geometric mean over edges decides: %s', async (_, before, after, streams) => {
  const graph = await smallVit()
  const names = streamOperands(graph, findOperands(graph, 'partial').activations).map(({ name }) => name)
  const losses = (values: number[]) => new Map(values.map((loss, i) => [names[i], loss]))
  expect(streamsThatGain(graph, losses(before), losses(after)).size).toBe(streams)
})
