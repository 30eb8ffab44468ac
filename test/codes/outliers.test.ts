import { observationOf } from '../../lib/codes/observation.js'
import { searchOutliers } from '../../lib/codes/outliers.js'
import { normals } from '../support/random.js'

const WIDTH = 24
const ROWS = 40
const OUTLIERS = [3, 10, 17]
const samples = normals(5, ROWS * WIDTH).map((x, i) => (OUTLIERS.includes(i % WIDTH) ? 20 * x : x))

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
    expect(coarse).toEqual(OUTLIERS)
  })
})

it('of channels that are all zero', async () => {
  const { code, loss } = await searchOutliers(observationOf(new Float32Array(8), 4), 4, null, null, () => {})
  expect(loss).toBe(0)
  expect(code.step).toBe(1)
})
