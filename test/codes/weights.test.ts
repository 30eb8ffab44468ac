import { encodeRow, searchRow, searchTensor } from '../../lib/codes/weights.js'
import { normals, uniforms } from '../support/random.js'

const lossAt = (row: Float32Array, importance: ArrayLike<number>, bits: number, step: number) => {
  const levels = new Int8Array(row.length)
  encodeRow(row, step, bits, levels)
  return row.reduce((sum, w, i) => sum + importance[i] * (w - levels[i] * step) ** 2, 0)
}

it('finds a step whose loss a much finer grid hardly improves', () => {
  for (let bits = 2; bits <= 8; bits++) {
    const row = normals(bits, 96)
    const importance = uniforms(100 + bits, 96)
    const found = searchRow(row, importance, bits)
    const top = row.reduce((a, w) => Math.max(a, Math.abs(w)), 0)
    let best = Number.POSITIVE_INFINITY
    for (let i = 1; i <= 2000; i++) best = Math.min(best, lossAt(row, importance, bits, (top * i) / 1000 / (2 ** (bits - 1) - 0.5)))
    expect(lossAt(row, importance, bits, found.step)).toBeCloseTo(found.loss, 4)
    expect(found.loss).toBeLessThanOrEqual(1.25 * best)
  }
})

it('keeps levels inside the width', () => {
  const levels = new Int8Array(4)
  encodeRow(Float32Array.of(-100, 100, 0.5, -0.5), 1, 3, levels)
  expect([...levels].map((x) => x + 0)).toEqual([-4, 3, 0, 0])
})

it('gives an all-zero row a step of 1', () => {
  expect(searchRow(new Float32Array(8), new Float64Array(8).fill(1), 4)).toEqual({ step: 1, loss: 0 })
})

it('gives a row too small for a step the step of an all-zero row', () => {
  expect(searchRow(new Float32Array(8).fill(1e-40), new Float64Array(8).fill(1), 8)).toEqual({ step: 1, loss: 0 })
})

it('finds one step for all rows, as if they were one row with the importance of its columns repeated', async () => {
  const [rows, inputs] = [7, 12]
  const weight = normals(3, rows * inputs)
  const importance = uniforms(4, inputs)
  const repeated = Float64Array.from(weight, (_, i) => importance[i % inputs])
  const [found, truth] = [await searchTensor(weight, importance, 4, () => {}), searchRow(weight, repeated, 4)]
  expect(found.step).toBe(truth.step)
  expect(found.loss).toBeCloseTo(truth.loss, 10)
})
