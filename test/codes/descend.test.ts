import { type Compensator, compensator, encodeRowsCompensated } from '../../lib/codes/compensate.js'
import { encodeRowsSearched } from '../../lib/codes/descend.js'
import { multiply } from '../support/multiply.js'
import { normals } from '../support/random.js'

const WIDTH = 12
const ROWS = 20
const idle = () => {}

/** Of correlated inputs: a few directions and noise. */
function correlated(seed: number): Promise<Compensator> {
  const mix = normals(seed, 3 * WIDTH)
  const h = new Float64Array(WIDTH * WIDTH)
  for (let i = 0; i < WIDTH; i++) {
    for (let j = 0; j < WIDTH; j++) {
      for (let k = 0; k < 3; k++) h[i * WIDTH + j] += mix[3 * i + k] * mix[3 * j + k]
    }
    h[i * WIDTH + i] += 0.1
  }
  return compensator(h, WIDTH, idle)
}

/** e^T H e from its definition. */
function errorOf(row: Float32Array, levels: Int8Array, step: number, { damped }: Compensator): number {
  let sum = 0
  for (let i = 0; i < WIDTH; i++) {
    for (let j = 0; j < WIDTH; j++) sum += damped.data[i * WIDTH + j] * (row[i] - levels[i] * step) * (row[j] - levels[j] * step)
  }
  return sum
}

const row = <T extends Float32Array | Int8Array>(all: T, o: number): T => all.subarray(o * WIDTH, (o + 1) * WIDTH) as T

it('stops where no single level can be moved with gain, inside the width', async () => {
  const known = await correlated(1)
  const data = normals(2, ROWS * WIDTH)
  const [bits, half] = [3, 4]
  const weight = { shape: [ROWS, WIDTH], data }
  const { levels, steps } = await encodeRowsSearched(weight, new Float32Array(ROWS).fill(0.5), bits, known, multiply, idle)
  for (let o = 0; o < ROWS; o++) {
    const after = errorOf(row(data, o), row(levels, o), steps[o], known)
    for (let j = 0; j < WIDTH; j++) {
      for (const d of [-1, 1]) {
        const moved = row(levels, o).slice()
        moved[j] += d
        if (moved[j] < -half || moved[j] >= half) continue
        expect(errorOf(row(data, o), moved, steps[o], known)).toBeGreaterThanOrEqual(after - 1e-4)
      }
      expect(Math.abs(row(levels, o)[j] + 0.5)).toBeLessThan(half)
    }
  }
})

it('leaves less error than compensation at the given step, in no row more', async () => {
  const known = await correlated(3)
  const data = normals(4, ROWS * WIDTH)
  const starts = new Float32Array(ROWS).fill(0.4)
  const once = await encodeRowsCompensated(data, starts, 3, known, multiply, idle)
  const { levels, steps } = await encodeRowsSearched({ shape: [ROWS, WIDTH], data }, starts, 3, known, multiply, idle)
  const errors = Array.from({ length: ROWS }, (_, o) => errorOf(row(data, o), row(levels, o), steps[o], known))
  errors.forEach((error, o) => {
    expect(error).toBeLessThanOrEqual(once.losses[o] * (1 + 1e-4))
  })
  expect(errors.reduce((a, b) => a + b)).toBeLessThan(0.85 * once.losses.reduce((a, b) => a + b))
})

it('gives a row of zeros no levels, and the step it was given', async () => {
  const weight = { shape: [1, WIDTH], data: new Float32Array(WIDTH) }
  const { levels, steps } = await encodeRowsSearched(weight, Float32Array.of(1), 4, await correlated(5), multiply, idle)
  expect([...levels]).toEqual(Array(WIDTH).fill(0))
  expect([...steps]).toEqual([1])
})
