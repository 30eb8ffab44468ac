import { findOperands } from '../../lib/quant/operands.js'
import { type DrawnRows, drawStreamRows } from '../../lib/quant/stream-rows.js'
import { normals } from '../support/random.js'
import { type Matrix, runReference } from '../support/reference.js'
import { smallVit } from '../support/small-vit.js'

it('draws rows on which the logits depend: behind the last attention only those of the two tokens with heads', async () => {
  const graph = await smallVit()
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const images = 3
  const pixels = normals(4, images * rows * width)
  const each = Array.from({ length: images }, (_, i) => runReference(graph, pixels.subarray(i * rows * width, (i + 1) * rows * width)))
  const logits = Float32Array.from(each.flatMap((edges) => [...(edges.get(graph.output) as Matrix).data]))
  const { activations } = findOperands(graph, 'full')
  const stream = activations.filter(({ kind }) => kind === 'residual')
  const drawn = await drawStreamRows(graph, activations, { pixels, images }, logits, {})
  expect([...drawn.rows.keys()]).toEqual(stream.map(({ name }) => name))

  const last = stream.findLast(({ width, elements }) => elements > width) as (typeof stream)[number]
  const tokens = last.elements / last.width
  expect([...(drawn.rows.get(last.name) as DrawnRows).numbers].filter((row) => row % tokens > 1)).toEqual([])
  const { numbers: first } = drawn.rows.get(stream[0].name) as DrawnRows
  expect(new Set(first.map((row) => row % tokens)).size).toBe(tokens)

  // Of two tokens, the share of neither is nothing; of all, some count more than others.
  const sharing = (name: string) => (drawn.rows.get(name) as DrawnRows).rowsAnImage
  expect(sharing(last.name)).toBeGreaterThan(1)
  expect(sharing(last.name)).toBeLessThanOrEqual(2)
  expect(sharing(stream[0].name)).toBeGreaterThan(2)
  expect(sharing(stream[0].name)).toBeLessThan(tokens)

  const samples = drawn.samples.get(stream[0].name) as Float32Array
  first.forEach((row, i) => {
    const { data } = each[Math.floor(row / tokens)].get(stream[0].name) as Matrix
    const expected = data.slice((row % tokens) * last.width, ((row % tokens) + 1) * last.width)
    const actual = samples.subarray(i * last.width, (i + 1) * last.width)
    expect(Math.max(...actual.map((x, j) => Math.abs(x - expected[j])))).toBeLessThan(1e-4)
  })
})
