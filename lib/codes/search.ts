import type { Code } from '../graph/scheme.js'
import { largestShift, twoScaleCode, uniformCode } from './code.js'
import type { Histogram } from './histogram.js'

/** How much of the observed range a code covers: fractions tried by the searches, finest near the clipping that few bits prefer. */
const COVERAGE = Array.from({ length: 48 }, (_, i) => 1.1 * 0.94 ** i)

export interface Found {
  code: Code
  /** Weighted squared error on the histogram. */
  loss: number
}

function better(best: Found | null, code: Code, histogram: Histogram): Found {
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
 * The uniform code of least error whose lowest level is searched too, which is a zero point: its cost, an offset on each output row, is folded into
 * a correction that every product has anyway. Levels stay in -128..127, or in 0..255 for values that are never negative.
 */
export function searchUniform(histogram: Histogram, bits: number): Found {
  const count = 2 ** bits
  let best: Found = searchSymmetric(histogram, bits)
  for (const c of COVERAGE) {
    const step = (c * (histogram.max - histogram.min)) / (count - 1)
    if (!(step > 0)) continue
    const ideal = (c * histogram.min) / step
    for (const candidate of [Math.floor(ideal), Math.ceil(ideal), Math.floor(histogram.min / step)]) {
      const low = Math.min(0, Math.max(candidate, 1 - count))
      if (low < 0 && (low < -128 || low + count - 1 > 127)) continue
      best = better(best, uniformCode(bits, step, low), histogram)
    }
  }
  return best
}

/**
 * V-2SF with the ratio 2^m and the fine step both searched (OPT-m over the data of this edge). Uniform codes are candidates as well: from 7 bits on the
 * byte leaves no room for a useful m, and then the better of the two is taken.
 */
export function searchTwoScale(histogram: Histogram, bits: number): Found {
  let best = searchUniform(histogram, bits)
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
