import { drift } from '../../lib/quant/bias.js'
import { applyAffine, fitAffine } from '../../lib/quant/norms.js'
import { normals } from '../support/random.js'
import { smallVit } from '../support/small-vit.js'

const idle = () => {}
const WIDTH = 6
const IMAGES = 8
const ROWS = 80 * IMAGES
const column = (values: ArrayLike<number>, j: number) => Array.from({ length: values.length / WIDTH }, (_, t) => values[t * WIDTH + j])
const mean = (values: number[]) => values.reduce((sum, v) => sum + v, 0) / values.length
const covariance = (a: number[], b: number[]) => mean(a.map((v, i) => v * b[i])) - mean(a) * mean(b)

const x = normals(1, ROWS * WIDTH).map((v, i) => v * (1 + (i % WIDTH)))
const noise = normals(2, ROWS * WIDTH)
/** Louder from column to column, one of them without any error. */
const distorted = (amount: number) => x.map((v, i) => (i % WIDTH === 5 ? v : 0.8 * v + amount * (i % WIDTH) * noise[i] + 0.5 * (i % WIDTH)))

it('gives each channel the size of its signal back where both halves of the images say the same', async () => {
  const twice = (values: Float32Array) => Float32Array.from([...values, ...values])
  const [a, b] = [twice(x), twice(distorted(0.4))]
  const { gain, shift } = await fitAffine(a, b, WIDTH, 2 * IMAGES, idle)
  const drifted = await drift(a, b, WIDTH, 2 * IMAGES, idle)
  for (let j = 0; j < WIDTH; j++) {
    const [u, v] = [column(a, j), column(b, j)]
    expect(gain[j]).toBeCloseTo(covariance(u, u) / covariance(u, v), 5)
    expect(gain[j]).toBeCloseTo(j === 5 ? 1 : 1.25, 1)
    expect(gain[j] * mean(v) + shift[j]).toBeCloseTo(mean(v) - drifted[j], 5)
  }
  expect([gain[5], shift[5] + 0]).toEqual([1, 0])
})

it('goes as far towards it as halves agree', async () => {
  const y = distorted(1)
  const half = y.length / 2
  const slopes = (from: number, to: number) =>
    Array.from({ length: WIDTH }, (_, j) => {
      const [u, v] = [column(x.subarray(from, to), j), column(y.subarray(from, to), j)]
      return covariance(u, u) / covariance(u, v) - 1
    })
  const [first, second, all] = [slopes(0, half), slopes(half, 2 * half), slopes(0, 2 * half)]
  const shared = Array.from({ length: WIDTH }, (_, j) => covariance(column(x, j), column(y, j)))
  const dot = (a: number[], b: number[]) => a.reduce((sum, v, j) => sum + v * b[j] * shared[j], 0)
  const alpha = Math.min(1, dot(first, second) / dot(all, all))
  const { gain } = await fitAffine(x, y, WIDTH, IMAGES, idle)
  gain.forEach((g, j) => {
    expect(g).toBeCloseTo(1 + alpha * all[j], 5)
  })
})

it('leaves gains alone where halves contradict each other, where nothing varies, and for a single image', async () => {
  const half = x.length / 2
  const contradicting = x.map((v, i) => (i < half ? 1.2 : 0.8) * v)
  const constant = new Float32Array(x.length).fill(3)
  expect([...(await fitAffine(x, contradicting, WIDTH, IMAGES, idle)).gain]).toEqual(new Array(WIDTH).fill(1))
  expect(await fitAffine(constant, constant, WIDTH, IMAGES, idle)).toEqual({
    gain: new Float64Array(WIDTH).fill(1),
    shift: new Float64Array(WIDTH),
  })
  expect([...(await fitAffine(x, distorted(1), WIDTH, 1, idle)).gain]).toEqual(new Array(WIDTH).fill(1))
})

it('changes gamma and beta so that the output is the line of what it was', async () => {
  const graph = await smallVit()
  const norm = graph.nodes.find((node) => node.op === 'layernorm') as Extract<(typeof graph.nodes)[number], { op: 'layernorm' }>
  const other = { ...graph, constants: new Map(graph.constants) }
  const data = (name: string) => other.constants.get(name)?.data as Float32Array
  const [gamma, beta] = [data(norm.gamma), data(norm.beta)]
  const affine = { gain: Float64Array.from(gamma, (_, j) => 1 + j), shift: Float64Array.from(gamma, (_, j) => -j) }
  applyAffine([other], norm, affine)
  for (const [j, n] of [-1, 0.5, 2].entries()) {
    const before = gamma[j] * n + beta[j]
    expect(data(norm.gamma)[j] * n + data(norm.beta)[j]).toBeCloseTo((1 + j) * before - j, 5)
  }
  expect(graph.constants.get(norm.gamma)?.data).toBe(gamma)
})
