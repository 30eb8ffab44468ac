import { observationOf } from '../../lib/codes/observation.js'
import { searchOutliers, searchReach } from '../../lib/codes/outliers.js'
import { StreamLoss } from '../../lib/codes/stream-loss.js'
import { stepsOf } from '../../lib/graph/factors.js'
import type { Code } from '../../lib/graph/scheme.js'
import { normals } from '../support/random.js'

const [ROWS, WIDTH] = [200, 6]
const OUTLIERS = [false, true, false, false, false, true]
const samples = normals(5, ROWS * WIDTH).map((x, i) => (OUTLIERS[i % WIDTH] ? 20 * x : x))
const observation = observationOf(samples, WIDTH)
const importance = [1, 2, 0.5, 1, 3, 1]

function normalised(row: Float64Array): { values: Float64Array; deviation: number } {
  const mean = row.reduce((a, b) => a + b, 0) / WIDTH
  const deviation = Math.sqrt(row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / WIDTH)
  return { values: row.map((x) => (x - mean) / deviation), deviation }
}

/** Weighted squared error of what LayerNorm makes of each row, times the harmonic mean of the variances. */
function lossOf(code: Code): number {
  const steps = stepsOf(code, WIDTH)
  let [loss, inverses] = [0, 0]
  for (let t = 0; t < ROWS; t++) {
    const row = Float64Array.from(samples.subarray(t * WIDTH, (t + 1) * WIDTH))
    const coded = row.map(
      (x, j) => steps[j] * Math.min(Math.max(Math.round(x / steps[j]), code.levels[0]), code.levels[code.levels.length - 1]),
    )
    const [exact, found] = [normalised(row), normalised(coded)]
    inverses += exact.deviation ** -2
    for (let j = 0; j < WIDTH; j++) loss += importance[j] * (exact.values[j] - found.values[j]) ** 2
  }
  return (loss * ROWS) / inverses
}

const search = (bits: number) => searchOutliers(observation, bits, new StreamLoss(observation, importance, 1, () => {}))

it.each([6, 8])('finds the channels that reach farther, and its loss is that of its code, %i bits', async (bits) => {
  const { code, loss } = await search(bits)
  expect(code.family).toBe('o2sf')
  const factors = [...(code.factors as Float32Array)]
  expect(factors.map((factor) => factor > 1)).toEqual(OUTLIERS)
  expect(loss / lossOf(code)).toBeCloseTo(1, 3)
})

it('no other choice of outliers loses half as much with the same two steps', async () => {
  const { code, loss } = await search(6)
  const coarse = Math.max(...(code.factors as Float32Array))
  for (let mask = 0; mask < 2 ** WIDTH; mask++) {
    const factors = Float32Array.from({ length: WIDTH }, (_, j) => ((mask >> j) & 1 ? coarse : 1))
    expect(lossOf({ ...code, factors })).toBeGreaterThan(loss / 2)
  }
})

it('loses less than one step for all', async () => {
  const { code, loss } = await search(6)
  // Steps so coarse that a row becomes all zeros have no loss that could be computed.
  for (let step = 0.01; step < 12; step *= 1.05) expect(lossOf({ ...code, step, factors: Float32Array.of(1) }) <= loss).toBe(false)
})

it('of channels that are all zero', async () => {
  const zeros = observationOf(new Float32Array(8), 4)
  const { code, loss } = await searchOutliers(zeros, 4, new StreamLoss(zeros, null, 1, () => {}))
  expect(loss).toBe(0)
  expect(code.step).toBe(1)
})

it('does not clip a channel that reaches far in all rows, whose errors add up', async () => {
  const constant = observationOf(
    samples.map((x, i) => (i % WIDTH === 2 ? -70 + x : x / 2)),
    WIDTH,
  )
  const { code } = await searchOutliers(constant, 6, new StreamLoss(constant, [1, 1, 1e-4, 1, 1, 1], 1000, () => {}))
  expect(stepsOf(code, WIDTH)[2] * -code.levels[0]).toBeGreaterThan(70)
})

it('estimates what a clipped column costs as LayerNorm of the row with that column alone clipped', async () => {
  const [width, far, step] = [64, 5, 0.5]
  const rows = normals(6, 40 * width).map((x, i) => (i % width === far && Math.floor(i / width) % 4 === 0 ? 300 + x : x))
  const weights = Float64Array.from({ length: width }, (_, j) => 1 + (j % 3))
  const estimates = await new StreamLoss(observationOf(rows, width), weights, 1, () => {}).columns(step, 8)
  const normal = (row: Float32Array) => {
    const mean = row.reduce((a, b) => a + b, 0) / width
    const deviation = Math.sqrt(row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / width)
    return { values: row.map((x) => (x - mean) / deviation), deviation }
  }
  let [loss, inverses] = [0, 0]
  for (let t = 0; t < 40; t++) {
    const row = rows.slice(t * width, (t + 1) * width)
    const coded = row.map((x, j) => (j === far ? step * Math.min(Math.round(x / step), 127) : x))
    const [exact, found] = [normal(row), normal(coded)]
    inverses += exact.deviation ** -2
    exact.values.forEach((x, j) => (loss += weights[j] * (x - found.values[j]) ** 2))
  }
  expect((estimates[far] * inverses) / (loss * 40)).toBeCloseTo(1, 1)
})

it('codes everything that GELU reads, and normal channels as finely as if the others were not there', async () => {
  const { code } = await searchReach(observation, 8, importance, () => {})
  const normal = await searchReach(
    observationOf(
      samples.filter((_, i) => !OUTLIERS[i % WIDTH]),
      4,
    ),
    8,
    null,
    () => {},
  )
  const steps = stepsOf(code, WIDTH)
  const { max } = observation
  max.forEach((reach, j) => expect(steps[j] * (code.levels[255] + 0.5)).toBeGreaterThanOrEqual(reach * (1 - 1e-6)))
  expect(steps[0] / normal.code.step).toBeLessThan(2)
})
