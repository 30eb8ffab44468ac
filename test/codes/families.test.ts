import { codeFromJson, codeToJson } from '../../lib/checkpoint/code-json.js'
import { logCode, logLevels, regionsCode, twoScaleCode, uniformCode } from '../../lib/codes/code.js'
import { searchLog, searchRegions } from '../../lib/codes/families.js'
import { Histogram } from '../../lib/codes/histogram.js'
import { observationOf } from '../../lib/codes/observation.js'
import { COVERAGE, searchCodebook, searchTwoScale, searchUniform } from '../../lib/codes/search.js'
import { nearestLevel } from '../support/coded-reference.js'
import { normals, uniforms } from '../support/random.js'

const idle = () => {}
/** Of an observation so long that its extremes weigh nothing beside the samples. */
const histogramOf = (values: Float32Array) => Histogram.of({ ...observationOf(values, 1), count: 1e12 }, null, idle)
const gelu = (x: number) => (x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))) / 2
const GELU = normals(1, 8000).map(gelu)
/** Like softmax: the density falls with the third power, for which powers are the best levels. */
const SOFTMAX = uniforms(2, 8000).map((u) => Math.min(1, 0.01 / Math.sqrt(u + 1e-6)))

describe('contiguous regions', () => {
  it('follow each other at their distances', () => {
    expect(regionsCode(4, 1, [0, 1, 2, 3], 0).levels).toEqual([0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 36, 44, 52])
    expect(regionsCode(3, 1, [0, 2], -2).levels).toEqual([-2, -1, 0, 1, 2, 6, 10, 14])
    expect(regionsCode(6, 1, [0, 1, 2, 3], 0).levels[63]).toBe(232)
  })

  it('are uniform where the distances are equal', () => {
    for (const shifts of [
      [0, 0],
      [0, 0, 0, 0],
    ]) {
      expect(regionsCode(5, 0.5, shifts, -7).levels).toEqual(uniformCode(5, 0.5, -7).levels)
    }
  })

  it('have all levels of two scales split by magnitude, and others for those that it has twice', () => {
    for (const [bits, m] of [
      [4, 2],
      [5, 3],
    ]) {
      const regions = new Set(regionsCode(bits, 1, [0, m], 0).levels)
      const fine = 2 ** (bits - 1)
      const scales = twoScaleCode(bits, 1, m, false).levels.filter((level) => level >= 0)
      const highest = Math.max(...regions)
      for (const level of scales.filter((x) => x < fine || (x - fine) % 2 ** m === 0))
        expect(regions.has(level) || level > highest).toBe(true)
      expect(regions.size).toBe(2 ** bits)
      expect(new Set(scales).size).toBeLessThan(2 ** bits)
    }
  })
})

describe('logarithmic levels', () => {
  it('are powers, rounded', () => {
    expect(logLevels(3, 1, 128)).toEqual([0, 2, 4, 8, 16, 32, 64, 128])
    expect(logLevels(4, 0.5, 255)).toEqual([0, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 90, 128, 180, 255])
    expect(logCode(4, 1, 0.5, 255, 3).levels.slice(0, 5)).toEqual([-4, -2, -1, 0, 2])
  })

  it('are 2^bits different integers from 0 on, whatever the base', () => {
    for (let bits = 2; bits <= 8; bits++) {
      for (let q = 1; q <= 74; q++) {
        const levels = logLevels(bits, q / 37, 255)
        expect([levels[0], levels[levels.length - 1]]).toEqual([0, 255])
        expect(new Set(levels).size).toBe(2 ** bits)
        expect([...levels].sort((a, b) => a - b)).toEqual(levels)
      }
    }
  })
})

describe.each([
  ['GELU', GELU],
  ['softmax', SOFTMAX],
  ['values of both signs', normals(3, 8000)],
  ['negative values', normals(4, 4000).map((x) => -Math.abs(x))],
])('searches on %s', (_, values) => {
  it.each([2, 3, 4, 5, 6, 7, 8])('give valid codes of %d bits, with their losses, never worse than what they start from', async (bits) => {
    const histogram = await histogramOf(values)
    const start = searchUniform(histogram, bits, 127)
    for (const { code, loss } of [searchRegions(histogram, bits, start, 127), searchLog(histogram, bits, start, 127)]) {
      expect(loss).toBeLessThanOrEqual(start.loss)
      expect(histogram.lossOf(code)).toBe(loss)
      expect(codeFromJson(JSON.parse(JSON.stringify(codeToJson(code))), 'x')).toEqual(code)
      expect(values.reduce((sum, x) => sum + (x - nearestLevel(code, x) * code.step) ** 2, 0) / loss).toBeCloseTo(1, 1)
      if (code !== start.code) expect([new Set(code.levels).size, code.levels.includes(0)]).toEqual([2 ** bits, true])
    }
  })
})

it('finds the best contiguous regions of all, or next to it', async () => {
  const histogram = await histogramOf(SOFTMAX)
  for (const [bits, most] of [
    [3, 64],
    [4, 64],
  ]) {
    let least = Number.POSITIVE_INFINITY
    const all = [0, 1, 2, 3, 4, 5, 6]
    for (const shifts of all.flatMap((a) => all.flatMap((b) => all.flatMap((c) => [[a, b, c].sort((x, y) => x - y)])))) {
      const code = regionsCode(bits, 1, [0, ...shifts], 0)
      const top = code.levels[2 ** bits - 1]
      if (top > 255 || shifts.reduce((sum, s) => sum + 2 ** s, 1) > most) continue
      for (const c of COVERAGE) least = Math.min(least, histogram.loss(code.levels, Math.fround((c * histogram.max) / top)))
    }
    expect(searchRegions(histogram, bits, searchUniform(histogram, bits)).loss / least).toBeLessThan(1.06)
  }
})

it('has less error with contiguous regions than with two scales where a byte has room for both, and for softmax with powers, too', async () => {
  const [gelus, softmax] = [await histogramOf(GELU), await histogramOf(SOFTMAX)]
  for (const [histogram, widths] of [
    [gelus, [3, 4, 5]],
    [softmax, [3, 4, 5]],
  ] as const) {
    for (const bits of widths) {
      const twoScale = searchTwoScale(histogram, bits)
      const found = [searchRegions(histogram, bits, searchUniform(histogram, bits))]
      if (histogram === softmax) found.push(searchLog(histogram, bits, searchUniform(histogram, bits)))
      expect(found.map(({ code }) => code.family)).toEqual(['regions', 'log'].slice(0, found.length))
      for (const { loss } of found) expect(loss).toBeLessThan(twoScale.loss)
    }
  }
})

it('is at 8 bits the uniform code, which has every level of a byte', async () => {
  const histogram = await histogramOf(SOFTMAX)
  const start = searchUniform(histogram, 8)
  expect([searchRegions(histogram, 8, start), searchLog(histogram, 8, start)]).toEqual([start, start])
})

it('frees levels only where that saves more than a hundredth', async () => {
  const even = await histogramOf(uniforms(5, 20000))
  const start = searchUniform(even, 4)
  expect(searchCodebook(even, 4, start)).toBe(start)
  const histogram = await histogramOf(SOFTMAX)
  const named = searchLog(histogram, 3, searchUniform(histogram, 3))
  const free = searchCodebook(histogram, 3, named)
  expect(free.loss < 0.99 * named.loss || free === named).toBe(true)
  expect(searchCodebook(histogram, 3, free)).toBe(free)
})
