import { observationOf } from '../../lib/codes/observation.js'
import { farDirections, mirrorsOf, reflect } from '../../lib/quant/far-channels.js'
import { findOperands, tensorOf } from '../../lib/quant/operands.js'
import { rotate } from '../../lib/quant/rotate.js'
import { normals } from '../support/random.js'
import { type Matrix, runReference } from '../support/reference.js'
import { smallVit } from '../support/small-vit.js'

const WIDTH = 12

/**
 * Rows of noise; of every eighth the channel 3 is far, and the channel 7 nearly as far in others, each along with something in all
 * channels.
 */
function rows(count: number): Float32Array {
  const noise = normals(1, count * WIDTH)
  const [first, second] = [normals(2, WIDTH), normals(3, WIDTH)]
  return noise.map((x, i) => {
    const [row, j] = [Math.floor(i / WIDTH), i % WIDTH]
    if (row % 8 === 0) return x + (j === 3 ? -400 : 5 * first[j])
    return row % 8 === 1 ? x + (j === 7 ? 300 : 4 * second[j]) : x
  })
}

/** How far all but these channels are from their mean at most. */
const largestBeside = (row: ArrayLike<number>, channels: number[]): number => {
  const others = Array.from(row).filter((_, j) => !channels.includes(j))
  const middle = others.reduce((a, b) => a + b, 0) / others.length
  return Math.max(...others.map((x) => Math.abs(x - middle)))
}

it('finds channels that reach far, and what is in the same rows', () => {
  const samples = rows(400)
  const directions = farDirections([observationOf(samples, WIDTH)], WIDTH)
  expect([...directions.keys()]).toEqual([3, 7])
  const sum = (j: number, k: number) => {
    let total = 0
    for (let from = 0; from < samples.length; from += WIDTH)
      if (Math.abs(samples[from + j]) > 200) total += samples[from + j] * samples[from + k]
    return total
  }
  for (const [j, direction] of directions) direction.forEach((x, k) => expect(x / sum(j, k)).toBeCloseTo(1, 6))
  expect(farDirections([observationOf(normals(4, 100 * WIDTH), WIDTH)], WIDTH).size).toBe(0)
})

it('of a row that holds several rows side by side, finds the channel of each', () => {
  const directions = farDirections([observationOf(rows(400), 2 * WIDTH)], WIDTH)
  expect([...directions.keys()].sort()).toEqual([3, 7])
  expect([...(directions.get(3) as Float64Array)].map(Math.sign)[3]).toBe(1)
})

it('turns directions into their channels, and keeps lengths, the vector of ones and what is in no direction', () => {
  const samples = rows(400)
  const directions = farDirections([observationOf(samples, WIDTH)], WIDTH)
  const mirrors = mirrorsOf(directions)
  const turned = (vector: ArrayLike<number>) => {
    const row = Float64Array.from(vector)
    for (const mirror of mirrors) reflect(row, mirror)
    return row
  }
  turned(new Float64Array(WIDTH).fill(1)).forEach((x) => expect(x).toBeCloseTo(1, 12))
  const first = directions.get(3) as Float64Array
  const length = Math.hypot(...first)
  expect(Math.hypot(...turned(first)) / length).toBeCloseTo(1, 12)
  // Nothing is left of it but its channel and a multiple of 1.
  expect(largestBeside(turned(first), [3]) / length).toBeLessThan(1e-12)
  const second = directions.get(7) as Float64Array
  expect(largestBeside(turned(second), [3, 7]) / Math.hypot(...second)).toBeLessThan(1e-12)
  for (let t = 0; t < 16; t++) {
    const row = samples.subarray(t * WIDTH, (t + 1) * WIDTH)
    expect(Math.hypot(...turned(row)) / Math.hypot(...row)).toBeCloseTo(1, 9)
    expect(largestBeside(turned(row), [3, 7])).toBeLessThan(5)
  }
})

it.each<[string, number[]]>([
  ['the channel itself', [0, 0, 0, 3.1, 0, 0]],
  ['nothing but the vector of ones', [3.3, 3.3, 3.3, 3.3, 3.3, 3.3]],
  ['zero', [0, 0, 0, 0, 0, 0]],
])('leaves a direction alone that is %s', (_, direction) => {
  const [mirror] = mirrorsOf(new Map([[3, Float64Array.from(direction)]]))
  const row = Float64Array.from([1, 2, 3, 4, 5, 6])
  reflect(row, mirror)
  row.forEach((x, j) => expect(x).toBeCloseTo(j + 1, 12))
})

it('leaves a channel alone whose direction is that of one before, and keeps the vector of ones', () => {
  const direction = Float64Array.from(normals(8, WIDTH), (x, j) => (j === 3 ? 580 : j === 7 ? 400 : x))
  const mirrors = mirrorsOf(
    new Map([
      [3, direction],
      [7, direction.map((x) => 0.7 * x)],
    ]),
  )
  expect(mirrors[1]).toEqual(new Float64Array(WIDTH))
  const ones = new Float64Array(WIDTH).fill(1)
  for (const mirror of mirrors) reflect(ones, mirror)
  for (const x of ones) expect(x).toBeCloseTo(1, 12)
})

it('a far channel of which no sample tells has no direction', () => {
  const seen = observationOf(rows(400), WIDTH)
  const directions = farDirections([{ ...seen, samples: normals(9, 100 * WIDTH) }], WIDTH)
  expect([...directions]).toEqual([3, 7].map((channel) => [channel, new Float64Array(WIDTH)]))
})

it('a rotated model with such a token computes the same, and all of the token that is far is in one channel', async () => {
  const graph = await smallVit()
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const positions = tensorOf(graph, graph.nodes.flatMap((node) => (node.op === 'tokens' ? [node.positions] : []))[0])
  const channels = positions.shape[positions.shape.length - 1]
  const direction = normals(6, channels).map((x, j) => (j === 5 ? 300 : 10 * x))
  direction.forEach((x, j) => {
    positions.data[2 * channels + j] += x
  })
  const image = normals(1, rows * width)
  const before = runReference(graph, image)
  const stream = findOperands(graph, 'full').activations.filter(({ kind }) => kind === 'residual')
  const seen = ({ name, width }: (typeof stream)[number]) => observationOf(Float32Array.from((before.get(name) as Matrix).data), width)
  const rotated = await rotate(graph, { observations: new Map(stream.map((operand) => [operand.name, seen(operand)])) })
  const after = runReference(rotated, image)
  const logits = (before.get(graph.output) as Matrix).data
  ;(after.get(graph.output) as Matrix).data.forEach((x, i) => expect(x).toBeCloseTo(logits[i], 3))
  const far = (edges: typeof before) => {
    const { data } = edges.get('layers.1.sum') as Matrix
    const tokens = Array.from({ length: data.length / channels }, (_, t) => data.subarray(t * channels, (t + 1) * channels))
    const row = tokens.reduce((best, row) => (Math.abs(row[5]) > Math.abs(best[5]) ? row : best))
    return [Math.abs(row[5]), largestBeside(row, [5])]
  }
  expect(far(before)[1]).toBeGreaterThan(15)
  expect(far(after)[0]).toBeGreaterThan(far(before)[0])
  expect(far(after)[1]).toBeLessThan(6)
})
