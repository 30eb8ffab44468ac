import { type Compensator, compensator, encodeRowCompensated } from '../../lib/codes/compensate.js'
import { descend, encodeRowSearched } from '../../lib/codes/descend.js'
import { normals } from '../support/random.js'

const WIDTH = 12
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
    for (let j = 0; j < WIDTH; j++) sum += damped[i * WIDTH + j] * (row[i] - levels[i] * step) * (row[j] - levels[j] * step)
  }
  return sum
}

it('stops where no single level can be moved with gain, inside the width', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const known = await correlated(seed)
    const row = normals(100 + seed, WIDTH)
    const [step, bits, half] = [0.5, 3, 4]
    const levels = new Int8Array(WIDTH)
    const before = encodeRowCompensated(row, step, bits, known, levels)
    descend(row, step, bits, known, levels)
    const after = errorOf(row, levels, step, known)
    expect(after).toBeLessThanOrEqual(before * (1 + 1e-9))
    for (let j = 0; j < WIDTH; j++) {
      for (const d of [-1, 1]) {
        const moved = levels.slice()
        moved[j] += d
        if (moved[j] >= -half && moved[j] < half) expect(errorOf(row, moved, step, known)).toBeGreaterThanOrEqual(after * (1 - 1e-9))
      }
      expect(levels[j]).toBeGreaterThanOrEqual(-half)
      expect(levels[j]).toBeLessThan(half)
    }
  }
})

it('finds levels from a bad start, those of plain rounding where inputs are uncorrelated', async () => {
  const h = new Float64Array(WIDTH * WIDTH)
  for (let j = 0; j < WIDTH; j++) h[j * (WIDTH + 1)] = 1 + j
  const row = normals(1, WIDTH).map((w) => Math.max(-0.9, Math.min(w, 0.9)))
  const levels = new Int8Array(WIDTH)
  descend(row, 0.3, 4, await compensator(h, WIDTH, idle), levels)
  expect([...levels]).toEqual(Array.from(row, (w) => Math.round(w / 0.3) + 0))
})

it('leaves less error than compensation at the given step, and returns the step of its levels', async () => {
  let [once, searched] = [0, 0]
  for (let seed = 1; seed <= 40; seed++) {
    const known = await correlated(seed)
    const row = normals(100 + seed, WIDTH)
    const levels = new Int8Array(WIDTH)
    once += encodeRowCompensated(row, 0.4, 3, known, levels)
    const step = await encodeRowSearched(row, 0.4, 3, known, levels, idle)
    searched += errorOf(row, levels, step, known)
  }
  expect(searched).toBeLessThan(0.85 * once)
})

it('gives a row of zeros no levels, and the step it was given', async () => {
  const levels = new Int8Array(WIDTH).fill(1)
  expect(await encodeRowSearched(new Float32Array(WIDTH), 1, 4, await correlated(1), levels, idle)).toBe(1)
  expect([...levels]).toEqual(Array(WIDTH).fill(0))
})
