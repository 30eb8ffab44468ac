import type { Code } from '../graph/scheme.js'
import { codebook, largestShift, twoScaleCode, uniformCode } from './code.js'
import type { Histogram } from './histogram.js'

/** How much of the observed range a code covers: fractions tried by the searches, finest near the clipping that few bits prefer. */
export const COVERAGE = Array.from({ length: 48 }, (_, i) => 1.1 * 0.94 ** i)

export interface Found {
  code: Code
  /** Weighted squared error on the histogram. */
  loss: number
}

export function better(best: Found | null, code: Code, histogram: Histogram): Found {
  const loss = histogram.lossOf(code)
  return best === null || loss < best.loss ? { code, loss } : best
}

/**
 * The symmetric signed uniform code (levels -2^(bits-1) .. 2^(bits-1)-1) of least error.
 */
export function searchSymmetric(histogram: Histogram, bits: number): Found {
  const half = 2 ** (bits - 1)
  const top = Math.max(-histogram.min, histogram.max)
  let best: Found | null = null
  for (const c of COVERAGE) best = better(best, uniformCode(bits, (c * top) / (half - 0.5), -half), histogram)
  return best as Found
}

/**
 * The uniform code of least error whose lowest level is searched too, which is a zero point: its cost, an offset on each output row, is
 * folded into a correction that every product has anyway. Levels stay in -128..127, or with `anyZero` in any 256 consecutive integers of
 * which the lowest is even; for values that are never negative they are in 0..`highest`, where 2^bits of them fit.
 */
export function searchUniform(histogram: Histogram, bits: number, highest = 255, anyZero = false): Found {
  const count = 2 ** bits
  const signed = histogram.min < 0 || histogram.max === 0 || count - 1 > highest
  let best = signed ? searchSymmetric(histogram, bits) : null
  for (const c of COVERAGE) {
    const step = (c * (histogram.max - histogram.min)) / (count - 1)
    if (!(step > 0)) continue
    const ideal = (c * histogram.min) / step
    for (const candidate of [Math.floor(ideal), Math.ceil(ideal), Math.floor(histogram.min / step)]) {
      // + 0 makes -0 a zero.
      const low = Math.min(0, Math.max(candidate, 1 - count)) + 0
      if (low < 0 ? !(low >= -128 && low + count - 1 <= 127) && !(anyZero && low % 2 === 0) : count - 1 > highest) continue
      best = better(best, uniformCode(bits, step, low), histogram)
    }
  }
  return best as Found
}

/**
 * V-2SF with the ratio 2^m and the fine step both searched (OPT-m over the data of this edge). Uniform codes are candidates as well: from 7
 * bits on the byte leaves no room for a useful m, and then the better of the two is taken.
 */
export function searchTwoScale(histogram: Histogram, bits: number, anyZero = false): Found {
  let best = searchUniform(histogram, bits, 255, anyZero)
  if (bits < 3) return best
  const signed = histogram.min < 0
  const payload = 2 ** (bits - 1)
  for (let m = 1; m <= largestShift(bits, signed); m++) {
    for (const c of COVERAGE) {
      best = better(best, twoScaleCode(bits, (c * histogram.max) / ((payload - 1) * 2 ** m), m, signed), histogram)
    }
  }
  return best
}

type Range = readonly [low: number, high: number]

const LLOYD_ROUNDS = 12
/** Free levels that save less than this part of the loss are not worth being without a formula. */
const WORTH_FREEDOM = 0.01
/** From 7 bits on a codebook has nearly as many levels as a byte has values: nothing is left to choose. */
const WIDEST_CODEBOOK = 6

/**
 * Free levels on the byte grid by Lloyd's iteration (levels to the means of their values, thresholds to the middles), for several coverages
 * of the range and from `start`. Costs the kernels what any other table costs. Never worse on the histogram than `start`, which is kept
 * unless levels of their own are better by more than {@link WORTH_FREEDOM}.
 */
export function searchCodebook(histogram: Histogram, bits: number, start: Found, highest = 255): Found {
  if (bits > WIDEST_CODEBOOK || !(histogram.max > histogram.min)) return start
  const range: Range = histogram.min < 0 ? [-128, 127] : [0, highest]
  const top = Math.max(histogram.max / range[1], -histogram.min / 128)
  const companded = histogram.companded(2 ** bits)
  let best: Found = { ...start, loss: (1 - WORTH_FREEDOM) * start.loss }
  const settle = (values: number[], step: number) => {
    let levels = toGrid(values, range)
    for (let round = 0; round < LLOYD_ROUNDS; round++) levels = toGrid(histogram.centroids(levels, step), range)
    best = better(best, codebook(bits, step, levels), histogram)
  }
  settle(start.code.levels, start.code.step)
  for (const c of COVERAGE.filter((_, i) => i % 2 === 0)) {
    const step = c * top
    settle(
      companded.map((x) => x / step),
      step,
    )
  }
  return best.code === start.code ? start : best
}

/** Rounds ascending values to different integers of a byte's range, with the one nearest to 0 moved there. */
function toGrid(values: number[], [low, high]: Range): number[] {
  const { length } = values
  const levels = values.map((x) => Math.min(Math.max(Math.round(x), low), high))
  let zero = 0
  levels.forEach((level, i) => {
    if (Math.abs(level) < Math.abs(levels[zero])) zero = i
  })
  // Enough room must stay on both sides of 0 for the levels there.
  zero = low < 0 ? Math.min(Math.max(zero, length - 1 - high), -low) : 0
  levels[zero] = 0
  for (let i = zero + 1; i < length; i++) levels[i] = Math.min(Math.max(levels[i], levels[i - 1] + 1), high - (length - 1 - i))
  for (let i = zero - 1; i >= 0; i--) levels[i] = Math.max(Math.min(levels[i], levels[i + 1] - 1), low + i)
  return levels
}
