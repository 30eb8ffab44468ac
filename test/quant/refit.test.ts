import { drift } from '../../lib/quant/bias.js'
import { type JointMoments, jointMoments } from '../../lib/quant/moments.js'
import { refit } from '../../lib/quant/refit.js'
import { normals } from '../support/random.js'

const WIDTH = 12
const ROWS = 4000
const idle = () => {}

it('shrinks a weight where noise came to what it multiplies, as ridge regression does', async () => {
  // Independent columns: Cov[x, y] = v I and Cov[y, y] = (v + n_j) I, so that w_j becomes w_j (v + lambda) / (v + n_j + lambda).
  const noise = Float64Array.from({ length: WIDTH }, (_, j) => (j % 3) * 8)
  const x = normals(1, ROWS * WIDTH)
  const y = normals(2, ROWS * WIDTH).map((v, i) => x[i] + v * Math.sqrt(noise[i % WIDTH]))
  const moments = await jointMoments(x, y, WIDTH, idle)
  const { apply } = await refit([moments, moments], WIDTH, idle, {})
  const weight = { shape: [3, WIDTH], data: normals(3, 3 * WIDTH) }
  const { data } = await apply(weight)
  const lambda = (3 * noise.reduce((sum, n) => sum + 1 + n, 0)) / WIDTH
  weight.data.forEach((w, i) => {
    expect(data[i]).toBeCloseTo((w * (1 + lambda)) / (1 + noise[i % WIDTH] + lambda), 1)
  })
})

it('solves the normal equations', async () => {
  const x = normals(4, 50 * WIDTH)
  const mix = normals(5, WIDTH * WIDTH)
  const y = x.map((v, i) => {
    const [t, j] = [Math.floor(i / WIDTH), i % WIDTH]
    return mix.slice(j * WIDTH, (j + 1) * WIDTH).reduce((sum, m, k) => sum + 0.3 * m * x[t * WIDTH + k], v)
  })
  const moments = await jointMoments(x, y, WIDTH, idle)
  const { cross, own } = moments
  const weight = { shape: [5, WIDTH], data: normals(6, 5 * WIDTH) }
  const { data } = await (await refit([moments, moments], WIDTH, idle, {})).apply(weight)
  let trace = 0
  for (let j = 0; j < WIDTH; j++) trace += own[j * WIDTH + j]
  const lambda = (3 * trace) / WIDTH
  // W' (Cov[y, y] + lambda I) = W (Cov[x, y] + lambda I)
  for (let o = 0; o < 5; o++) {
    for (let j = 0; j < WIDTH; j++) {
      let [left, right] = [lambda * data[o * WIDTH + j], lambda * weight.data[o * WIDTH + j]]
      for (let k = 0; k < WIDTH; k++) {
        left += data[o * WIDTH + k] * own[k * WIDTH + j]
        right += weight.data[o * WIDTH + k] * cross[k * WIDTH + j]
      }
      expect(Math.abs(left - right)).toBeLessThan(1e-4 * lambda)
    }
  }
})

it('leaves a weight alone whose inputs have no errors, or are all alike', async () => {
  const x = normals(7, 40 * WIDTH)
  const weight = { shape: [2, WIDTH], data: normals(8, 2 * WIDTH) }
  for (const values of [x, new Float32Array(40 * WIDTH).fill(3)]) {
    const moments = await jointMoments(values, values, WIDTH, idle)
    const { data } = await (await refit([moments, moments], WIDTH, idle, {})).apply(weight)
    data.forEach((w, i) => {
      expect(w).toBeCloseTo(weight.data[i], 5)
    })
  }
})

/** W' - W of two halves. */
async function changeBy(halves: JointMoments[]): Promise<Float32Array> {
  const weight = { shape: [4, WIDTH], data: normals(10, 4 * WIDTH) }
  const { data } = await (await refit(halves, WIDTH, idle, {})).apply(weight)
  return data.map((w, i) => w - weight.data[i])
}

it('changes a weight as far as two halves of the images agree', async () => {
  const identity = Float64Array.from({ length: WIDTH * WIDTH }, (_, i) => (i % (WIDTH + 1) === 0 ? 1 : 0))
  const common = normals(12, WIDTH * WIDTH)
  const chance = normals(13, WIDTH * WIDTH)
  // Cov[x, y] - Cov[y, y] = common + chance and common - chance: alpha = (|W common|^2 - |W chance|^2) / |W common|^2, where Cov[y, y] = I.
  const half = (sign: number) => ({ own: identity, cross: identity.map((v, i) => v + common[i] + sign * 0.5 * chance[i]) })
  const square = (m: Float32Array) => {
    const data = normals(10, 4 * WIDTH)
    let sum = 0
    for (let o = 0; o < 4; o++) {
      for (let j = 0; j < WIDTH; j++) {
        let entry = 0
        for (let k = 0; k < WIDTH; k++) entry += data[o * WIDTH + k] * m[k * WIDTH + j]
        sum += entry ** 2
      }
    }
    return sum
  }
  const alpha = 1 - (0.25 * square(chance)) / square(common)
  const whole = await changeBy([half(0), half(0)])
  const found = await changeBy([half(1), half(-1)])
  expect(alpha).toBeGreaterThan(0.5)
  found.forEach((c, i) => {
    expect(c).toBeCloseTo(alpha * whole[i], 4)
  })
})

it('changes nothing where halves contradict each other, or there are no two', async () => {
  const x = normals(14, 60 * WIDTH)
  const { own } = await jointMoments(x, x, WIDTH, idle)
  const chance = normals(15, WIDTH * WIDTH)
  const half = (sign: number) => ({ own, cross: own.map((v, i) => v + sign * chance[i]) })
  for (const halves of [[half(1), half(-1)], [half(1)]]) {
    expect((await changeBy(halves)).every((c) => c === 0)).toBe(true)
  }
})

it('takes a drift for real that all rows have, and not one that a single row has', async () => {
  const [images, rows] = [8, 80]
  const x = normals(9, rows * 2)
  const y = x.map((v, i) => v + (i % 2 === 0 ? 0.5 + 0.01 * Math.sin(i) : i === 1 ? 40 : 0))
  const [all, one] = await drift(x, y, 2, images, idle)
  expect(all).toBeCloseTo(0.5, 2)
  expect(one).toBe(0)
})
