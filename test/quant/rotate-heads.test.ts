import { describe, expect, it } from '@jest/globals'
import type { Graph } from '../../lib/graph/graph.js'
import { rotateHeads } from '../../lib/quant/rotate-heads.js'
import { normals } from '../support/random.js'
import { runReference } from '../support/reference.js'
import { smallSwin } from '../support/small-swin.js'
import { smallVit } from '../support/small-vit.js'

const run = (graph: Graph) => {
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  return runReference(graph, normals(1, rows * width))
}

const changed = (before: Graph, after: Graph) =>
  [...before.constants].flatMap(([name, { data }]) => (after.constants.get(name)?.data.every((x, i) => x === data[i]) ? [] : [name])).sort()

const parts = (layer: string, ...names: string[]) => names.map((name) => `${layer}.attention.${name}`)

describe('the rotation of heads', () => {
  it.each([
    ['ViT', smallVit],
    ['Swin, windows shifted, with biases of positions', smallSwin],
  ])('of a %s turns queries, keys and values within their head, and not what the model computes', async (_, make) => {
    const graph = await make()
    const [before, after] = [run(graph), run(await rotateHeads(graph))]
    const logits = before.get(graph.output)?.data as Float64Array
    after.get(graph.output)?.data.forEach((value, i) => expect(value).toBeCloseTo(logits[i], 4))
    for (const node of graph.nodes) {
      if (node.op !== 'attention') continue
      const { width } = graph.edges.get(node.q) as { width: number }
      for (const edge of [node.q, node.k, node.v, node.output]) {
        const [x, y] = [before, after].map((edges) => edges.get(edge)?.data as Float64Array)
        // An orthogonal matrix keeps the length of a head's part of a row.
        const lengths = [x, y].map((data) => {
          const squares = new Float64Array((data.length / width) * node.heads)
          data.forEach((value, i) => {
            squares[Math.floor((i * node.heads) / width)] += value ** 2
          })
          return squares
        })
        lengths[0].forEach((square, i) => expect(lengths[1][i] / square).toBeCloseTo(1, 4))
        expect(Math.max(...x.map((value, i) => Math.abs(value - y[i])))).toBeGreaterThan(0.01)
      }
    }
  })

  it('turns the same for the same seed, and otherwise for another', async () => {
    const graph = await smallVit()
    const [first, again, other] = [await rotateHeads(graph), await rotateHeads(graph), await rotateHeads(graph, { seed: 100 })]
    expect(changed(first, again)).toEqual([])
    expect(changed(first, other)).toContain('layers.0.attention.query.weight')
  })

  it('leaves alone what more than one attention reads, or what is read by more than linear layers', async () => {
    const graph = await smallVit({ distillationHead: false, distillationToken: false })
    const row = { name: 'row', output: 'row', op: 'row' as const, input: 'layers.0.attention.query', row: 0 }
    const gelu = { name: 'gelu', output: 'gelu', op: 'gelu' as const, input: 'layers.1.attention' }
    graph.nodes.push(row, gelu)
    graph.edges.set('row', { rows: 1, width: graph.edges.get(row.input)?.width as number })
    graph.edges.set('gelu', graph.edges.get(gelu.input) as { rows: number; width: number })
    const names = changed(graph, await rotateHeads(graph)).filter((name) => /layers\.[01]\.attention/.test(name))
    expect(names).toEqual([
      ...parts('layers.0', 'output.weight', 'value.bias', 'value.weight'),
      ...parts('layers.1', 'key.bias', 'key.weight', 'query.bias', 'query.weight'),
    ])
  })
})
