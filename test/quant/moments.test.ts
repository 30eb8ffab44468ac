import { secondMoments } from '../../lib/quant/moments.js'
import { inverseVariances } from '../../lib/quant/row-weights.js'
import { normals } from '../support/random.js'

const WIDTH = 19
const ROWS = 53

it('averages outer products of rows', async () => {
  const samples = normals(1, ROWS * WIDTH)
  const moments = await secondMoments(samples, WIDTH, () => {})
  for (let i = 0; i < WIDTH; i++) {
    for (let j = 0; j < WIDTH; j++) {
      let sum = 0
      for (let t = 0; t < ROWS; t++) sum += (samples[t * WIDTH + i] * samples[t * WIDTH + j]) / ROWS
      expect(moments[i * WIDTH + j]).toBeCloseTo(sum, 5)
    }
  }
})

it('weighs rows by their inverse variance, one on average', () => {
  const weights = inverseVariances(Float32Array.from([1, 3, 10, 30]), 2)
  expect(weights[0] / weights[1]).toBeCloseTo(100)
  expect(weights[0] + weights[1]).toBeCloseTo(2)
})
