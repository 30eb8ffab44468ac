import { jointMoments } from '../../lib/quant/moments.js'
import { inverseVariances } from '../../lib/quant/row-weights.js'
import { normals } from '../support/random.js'

const WIDTH = 19
const ROWS = 53

it.each([false, true])('averages products of columns without their means, rows weighed: %s', async (weighed) => {
  const x = normals(1, ROWS * WIDTH).map((v) => v + 3)
  const y = normals(2, ROWS * WIDTH).map((v, i) => v + 0.5 * x[i])
  const weights = Float32Array.from({ length: ROWS }, (_, t) => 1 + (t % 7))
  const total = weights.reduce((a, b) => a + b)
  const { cross, own } = await jointMoments(x, y, WIDTH, () => {}, {}, weighed ? weights : null)
  const column = (values: Float32Array, j: number) => {
    const all = Array.from({ length: ROWS }, (_, t) => values[t * WIDTH + j])
    const mean = all.reduce((a, b) => a + b) / ROWS
    return all.map((v) => v - mean)
  }
  const covariance = (a: number[], b: number[]) => a.reduce((sum, v, t) => sum + v * b[t] * (weighed ? weights[t] / total : 1 / ROWS), 0)
  for (let i = 0; i < WIDTH; i++) {
    for (let j = 0; j < WIDTH; j++) {
      expect(cross[i * WIDTH + j]).toBeCloseTo(covariance(column(x, i), column(y, j)), 5)
      expect(own[i * WIDTH + j]).toBeCloseTo(covariance(column(y, i), column(y, j)), 5)
    }
  }
})

it('weighs rows by their inverse variance, one on average', () => {
  const weights = inverseVariances(Float32Array.from([1, 3, 10, 30]), 2)
  expect(weights[0] / weights[1]).toBeCloseTo(100)
  expect(weights[0] + weights[1]).toBeCloseTo(2)
})
