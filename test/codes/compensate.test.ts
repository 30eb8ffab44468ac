import { type Compensator, compensator, encodeRowsCompensated } from '../../lib/codes/compensate.js'
import { encodeRow } from '../../lib/codes/weights.js'
import { multiply } from '../support/multiply.js'
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
  damped.data.forEach((x, i) => {
    expect(x - h[i]).toBeCloseTo(i % (WIDTH + 1) === 0 ? damping : 0, 5)
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
  const rows = normals(10, 40 * WIDTH)
  const { levels } = await encodeRowsCompensated(rows, new Float32Array(40).fill(0.35), 4, u, multiply, idle)
  let plain = 0
  let compensated = 0
  for (let o = 0; o < 40; o++) {
    const row = rows.subarray(o * WIDTH, (o + 1) * WIDTH)
    const nearest = new Int8Array(WIDTH)
    encodeRow(row, 0.35, 4, nearest)
    plain += error(row, nearest, 0.35)
    compensated += error(row, levels.subarray(o * WIDTH, (o + 1) * WIDTH), 0.35)
  }
  expect(Math.max(...levels)).toBeLessThanOrEqual(7)
  expect(Math.min(...levels)).toBeGreaterThanOrEqual(-8)
  expect(compensated).toBeLessThan(0.35 * plain)
})

/** Column after column, each error passed on at once: the definition. */
function oneByOne(row: Float32Array, step: number, { order, factor }: Compensator): Int8Array {
  const width = row.length
  const levels = new Int8Array(width)
  const w = Float64Array.from(order, (j) => row[j])
  for (let j = 0; j < width; j++) {
    levels[order[j]] = Math.min(Math.max(Math.round(w[j] / step), -8), 7)
    const error = (w[j] - levels[order[j]] * step) / factor[j * width + j]
    for (let k = j + 1; k < width; k++) w[k] -= error * factor[j * width + k]
  }
  return levels
}

it.each([24, 63, 64, 65, 130])('rounds %i columns as the definition does, and returns the error', async (width) => {
  const mix = normals(1, width * width)
  const h = new Float64Array(width * width)
  for (let i = 0; i < width; i++) {
    for (let j = 0; j < width; j++) for (let k = 0; k < width; k++) h[i * width + j] += (mix[i * width + k] * mix[j * width + k]) / width
  }
  const known = await compensator(h, width, idle)
  const [rows, steps] = [normals(5, 3 * width), Float32Array.of(0.35, 0.3, 0.5)]
  const { levels, losses } = await encodeRowsCompensated(rows, steps, 4, known, multiply, idle)
  for (let o = 0; o < 3; o++) {
    const row = rows.subarray(o * width, (o + 1) * width)
    const own = levels.subarray(o * width, (o + 1) * width)
    expect([...own]).toEqual([...oneByOne(row, steps[o], known)])
    let expected = 0
    for (let i = 0; i < width; i++) {
      for (let j = 0; j < width; j++) {
        expected += known.damped.data[i * width + j] * (row[i] - own[i] * steps[o]) * (row[j] - own[j] * steps[o])
      }
    }
    expect(losses[o] / expected).toBeCloseTo(1, 4)
  }
})
