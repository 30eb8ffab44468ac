import { compensator, encodeRowCompensated } from '../../lib/codes/compensate.js'
import { encodeRow } from '../../lib/codes/weights.js'
import { normals } from '../support/random.js'

const WIDTH = 24
const ROWS = 400

/** Correlated inputs: a few latent directions and noise. */
function inputs(): Float32Array {
  const mix = normals(1, WIDTH * 4)
  const latent = normals(2, ROWS * 4)
  const noise = normals(3, ROWS * WIDTH)
  return noise.map((n, i) => {
    const t = Math.floor(i / WIDTH)
    let x = 0.2 * n
    for (let k = 0; k < 4; k++) x += latent[4 * t + k] * mix[4 * (i % WIDTH) + k]
    return x
  })
}

const idle = () => {}

/** E[x x^T] */
function moments(samples: Float32Array): Float64Array {
  const h = new Float64Array(WIDTH * WIDTH)
  for (let t = 0; t < ROWS; t++) {
    for (let i = 0; i < WIDTH; i++) {
      for (let j = 0; j < WIDTH; j++) h[i * WIDTH + j] += (samples[t * WIDTH + i] * samples[t * WIDTH + j]) / ROWS
    }
  }
  return h
}

it('factors the inverse of the damped second moments, columns of most energy first', async () => {
  const h = moments(inputs())
  const { order, factor: u, damped } = await compensator(h, WIDTH, idle)
  expect([...order].sort((i, j) => i - j)).toEqual(Array.from({ length: WIDTH }, (_, i) => i))
  const energies = Array.from(order, (j) => h[j * WIDTH + j])
  expect(energies).toEqual([...energies].sort((a, b) => b - a))
  const damping = (0.15 * energies.reduce((a, b) => a + b)) / WIDTH
  damped.forEach((x, i) => {
    expect(x - h[i]).toBeCloseTo(i % (WIDTH + 1) === 0 ? damping : 0, 12)
  })
  // U^T U H must be the identity.
  for (let i = 0; i < WIDTH; i++) {
    for (let j = 0; j < WIDTH; j++) {
      let product = 0
      for (let a = 0; a < WIDTH; a++) {
        let inverse = 0
        for (let k = 0; k < WIDTH; k++) inverse += u[k * WIDTH + i] * u[k * WIDTH + a]
        product += inverse * (h[order[a] * WIDTH + order[j]] + (a === j ? damping : 0))
      }
      expect(product).toBeCloseTo(i === j ? 1 : 0, 5)
      if (j < i) expect(u[i * WIDTH + j]).toBe(0)
    }
  }
})

it('removes most of the output error that plain rounding leaves on correlated inputs', async () => {
  const samples = inputs()
  const u = await compensator(moments(samples), WIDTH, idle)
  const error = (row: Float32Array, levels: Int8Array, step: number) => {
    let sum = 0
    for (let t = 0; t < ROWS; t++) {
      let e = 0
      for (let i = 0; i < WIDTH; i++) e += samples[t * WIDTH + i] * (row[i] - levels[i] * step)
      sum += e * e
    }
    return sum
  }
  let plain = 0
  let compensated = 0
  for (let o = 0; o < 40; o++) {
    const row = normals(10 + o, WIDTH)
    const levels = new Int8Array(WIDTH)
    encodeRow(row, 0.35, 4, levels)
    plain += error(row, levels, 0.35)
    encodeRowCompensated(row, 0.35, 4, u, levels)
    compensated += error(row, levels, 0.35)
    expect(Math.max(...levels)).toBeLessThanOrEqual(7)
    expect(Math.min(...levels)).toBeGreaterThanOrEqual(-8)
  }
  expect(compensated).toBeLessThan(0.35 * plain)
})

it('returns the error of what it rounded, and gives up above a bound', async () => {
  const known = await compensator(moments(inputs()), WIDTH, idle)
  const row = normals(5, WIDTH)
  const levels = new Int8Array(WIDTH)
  const loss = encodeRowCompensated(row, 0.35, 4, known, levels)
  let expected = 0
  for (let i = 0; i < WIDTH; i++) {
    for (let j = 0; j < WIDTH; j++) {
      expected += known.damped[i * WIDTH + j] * (row[i] - levels[i] * 0.35) * (row[j] - levels[j] * 0.35)
    }
  }
  expect(loss / expected).toBeCloseTo(1, 9)
  expect(encodeRowCompensated(row, 0.35, 4, known, levels, loss * 1.0001)).toBe(loss)
  expect(encodeRowCompensated(row, 0.35, 4, known, levels, loss * 0.9999)).toBe(Number.POSITIVE_INFINITY)
})
