import { observationOf } from '../../lib/codes/observation.js'
import { hasOutliers, searchOutliers } from '../../lib/codes/outliers.js'
import { stepsOf } from '../../lib/graph/factors.js'
import type { Code } from '../../lib/graph/scheme.js'
import { normals } from '../support/random.js'

const [ROWS, WIDTH] = [200, 6]
const OUTLIERS = [false, true, false, false, false, true]
const samples = normals(5, ROWS * WIDTH).map((x, i) => (OUTLIERS[i % WIDTH] ? 20 * x : x))
const observation = observationOf(samples, WIDTH)
const importance = [1, 2, 0.5, 1, 3, 1]

/** Of all samples, and once more of the extremes of each column. */
function lossOf(code: Code): number {
  const steps = stepsOf(code, WIDTH)
  const squared = (x: number, j: number) => {
    const level = Math.min(Math.max(Math.round(x / steps[j]), code.levels[0]), code.levels[code.levels.length - 1])
    return importance[j] * (x - level * steps[j]) ** 2
  }
  let loss = 0
  samples.forEach((x, i) => {
    loss += squared(x, i % WIDTH)
  })
  for (let j = 0; j < WIDTH; j++) loss += squared(observation.min[j], j) + squared(observation.max[j], j)
  return loss
}

it.each([4, 8])('finds the channels that reach farther, and its loss is that of its code, %i bits', async (bits) => {
  const { code, loss } = await searchOutliers(observation, bits, importance, null, () => {})
  expect(code.family).toBe('o2sf')
  const factors = [...(code.factors as Float32Array)]
  expect(factors.map((factor) => factor > 1)).toEqual(OUTLIERS)
  expect(loss / lossOf(code)).toBeCloseTo(1, 3)
})

it('no other choice of outliers loses less with the same two steps', async () => {
  const { code, loss } = await searchOutliers(observation, 4, importance, null, () => {})
  const coarse = Math.max(...(code.factors as Float32Array))
  for (let mask = 0; mask < 2 ** WIDTH; mask++) {
    const factors = Float32Array.from({ length: WIDTH }, (_, j) => ((mask >> j) & 1 ? coarse : 1))
    expect(lossOf({ ...code, factors })).toBeGreaterThanOrEqual(loss * (1 - 1e-4))
  }
})

it('loses less than one step for all', async () => {
  const { code, loss } = await searchOutliers(observation, 4, importance, null, () => {})
  for (let step = 0.01; step < 12; step *= 1.05) {
    expect(lossOf({ ...code, step, factors: Float32Array.of(1) })).toBeGreaterThan(loss)
  }
})

it('weighs rows', async () => {
  const onlyFirst = Float64Array.from({ length: ROWS }, (_, t) => (t === 0 ? ROWS : 0))
  const { code } = await searchOutliers(observation, 8, null, onlyFirst, () => {})
  const steps = stepsOf(code, WIDTH)
  // What is left is one row of which every value can be met; the extremes of all rows count for one row each.
  for (let j = 0; j < WIDTH; j++) expect(Math.abs(samples[j] - Math.round(samples[j] / steps[j]) * steps[j])).toBeLessThan(steps[j])
})

it('tells channels that are alike', () => {
  expect(hasOutliers(observation)).toBe(true)
  expect(hasOutliers(observationOf(normals(5, ROWS * WIDTH), WIDTH))).toBe(false)
})

describe('against all steps', () => {
  const WIDTH = 24
  const ROWS = 40
  const far = [3, 10, 17]
  const samples = normals(5, ROWS * WIDTH).map((x, i) => (far.includes(i % WIDTH) ? 20 * x : x))

  /** Of a channel with this step: squares over all rows, and its extremes once more, as the search counts them. */
  function channelLoss(column: number, step: number, half: number): number {
    const values = Array.from({ length: ROWS }, (_, t) => samples[t * WIDTH + column])
    return [...values, Math.min(...values), Math.max(...values)].reduce((sum, x) => {
      const level = Math.min(Math.max(Math.round(x / step), -half), half - 1)
      return sum + (x - level * step) ** 2
    }, 0)
  }

  describe.each([3, 4, 6, 8])('O-2SF at %i bits', (bits) => {
    const half = 2 ** (bits - 1)

    it('finds the two steps and the channels of each that are best', async () => {
      const { code, loss } = await searchOutliers(observationOf(samples, WIDTH), bits, null, null, () => {})
      const reach = samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
      let least = Number.POSITIVE_INFINITY
      for (let i = 0; i <= 32; i++) {
        for (let m = 0; m <= 7 && i - 4 * m >= 0; m++) {
          const fine = (reach / (half - 0.5)) * 2 ** (-i / 4)
          let total = 0
          for (let j = 0; j < WIDTH; j++) total += Math.min(channelLoss(j, fine, half), channelLoss(j, fine * 2 ** m, half))
          least = Math.min(least, total)
        }
      }
      expect(loss / least).toBeCloseTo(1, 5)
      const factors = code.factors as Float32Array
      let achieved = 0
      for (let j = 0; j < WIDTH; j++) achieved += channelLoss(j, code.step * factors[j], half)
      expect(achieved / least).toBeCloseTo(1, 4)
      expect(code.levels).toEqual(Array.from({ length: 2 ** bits }, (_, i) => i - half))
    })

    it('tells the outliers from the others', async () => {
      const { code } = await searchOutliers(observationOf(samples, WIDTH), bits, null, null, () => {})
      const coarse = Array.from(code.factors as Float32Array).flatMap((factor, j) => (factor > 1 ? [j] : []))
      expect(coarse).toEqual(far)
    })
  })
})

it('of channels that are all zero', async () => {
  const { code, loss } = await searchOutliers(observationOf(new Float32Array(8), 4), 4, null, null, () => {})
  expect(loss).toBe(0)
  expect(code.step).toBe(1)
})
