import { drift } from '../../lib/quant/bias.js'
import { jointMoments } from '../../lib/quant/moments.js'
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
  const { apply } = await refit(moments, WIDTH, idle, {})
  const weight = { shape: [3, WIDTH], data: normals(3, 3 * WIDTH) }
  const { data } = await apply(weight)
  const lambda = (10 * noise.reduce((sum, n) => sum + 1 + n, 0)) / WIDTH
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
  const { cross, own } = await jointMoments(x, y, WIDTH, idle)
  const weight = { shape: [5, WIDTH], data: normals(6, 5 * WIDTH) }
  const { data } = await (await refit({ cross, own }, WIDTH, idle, {})).apply(weight)
  let trace = 0
  for (let j = 0; j < WIDTH; j++) trace += own[j * WIDTH + j]
  const lambda = (10 * trace) / WIDTH
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
    const { data } = await (await refit(await jointMoments(values, values, WIDTH, idle), WIDTH, idle, {})).apply(weight)
    data.forEach((w, i) => {
      expect(w).toBeCloseTo(weight.data[i], 5)
    })
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
