import type { Code } from '../graph/scheme.js'
import { logCode, logLevels, regionsCode } from './code.js'
import type { Histogram } from './histogram.js'
import { better, COVERAGE, type Found } from './search.js'

/**
 * Searches of the code families that lie between the uniform code and free levels: contiguous regions and logarithmic codes. A byte has 256 levels, so that at 8 bits
 * the uniform code has them all.
 */

/** A code of each form for a range, of which the fraction `coverage` is covered. */
type Form = (coverage: number) => Code[]

/** Each form is tried at every nth coverage; those of least loss at all. */
const FEWER = 6
const KEPT = 4

const WIDEST = 7
/** Numbers of regions, where each has two levels or more. */
const REGIONS = [2, 4]
/** Of log-sqrt2, and AdaLog's q / 37. */
const OCTAVES = [0.5, ...Array.from({ length: 74 }, (_, i) => (i + 1) / 37)]

/**
 * Contiguous regions, {@link regionsCode}: the distances of levels in two or four regions, the step and the lowest level. Distances grow from region to region; with
 * values of both signs they may first shrink.
 *
 * @param start returned where nothing is better
 */
export function searchRegions(histogram: Histogram, bits: number, start: Found, highest = 255): Found {
  if (bits > WIDEST) return start
  const { min, max } = histogram
  const forms = REGIONS.filter((regions) => 2 ** bits >= 2 * regions).flatMap((regions) => {
    const payload = 2 ** bits / regions
    return shiftsOf(regions, Math.floor(256 / payload), min < 0).map((shifts): Form => {
      const reach = payload * shifts.reduce((sum, s) => sum + 2 ** s, 0) - 2 ** shifts[regions - 1]
      return (coverage) => {
        const step = (coverage * (max - min)) / reach
        const ideal = (coverage * min) / step
        const lows = [...new Set([Math.floor(ideal), Math.ceil(ideal)])].map((low) => Math.max(low, -128) + 0)
        return lows
          .filter((low) => low + reach <= (low < 0 ? 127 : highest))
          .map((low) => regionsCode(bits, step, shifts, low))
          .filter(({ levels }) => levels.includes(0))
      }
    })
  })
  return searchForms(forms, histogram, start)
}

/** Shifts of so many regions: the least 0, not all alike, distances of `most` in sum at the most. */
function shiftsOf(regions: number, most: number, mayFall: boolean): number[][] {
  const largest = Math.floor(Math.log2(most))
  let all: number[][] = [[]]
  for (let r = 0; r < regions; r++) all = all.flatMap((shifts) => Array.from({ length: largest + 1 }, (_, s) => [...shifts, s]))
  return all.filter((shifts) => {
    const sum = shifts.reduce((total, s) => total + 2 ** s, 0)
    const bottom = shifts.indexOf(0)
    const falls = shifts.every((s, r) => r === 0 || r > bottom || s <= shifts[r - 1])
    const rises = shifts.every((s, r) => r <= bottom || s >= shifts[r - 1])
    return bottom >= 0 && sum > regions && sum <= most && falls && rises && (mayFall || bottom === 0)
  })
}

/**
 * Logarithmic levels, {@link logCode}: base and step. With values of both signs the levels are shifted so that the lowest reaches the least value, as AdaLog has it for
 * GELU.
 *
 * @param start returned where nothing is better
 */
export function searchLog(histogram: Histogram, bits: number, start: Found, highest = 255): Found {
  const { min, max } = histogram
  if (bits > WIDEST || 2 ** bits > highest || !(max > 0)) return start
  const forms = OCTAVES.map((octaves): Form => {
    if (min >= 0) return (coverage) => [logCode(bits, (coverage * max) / highest, octaves, highest)]
    return (coverage) => {
      const step = (coverage * max) / 127
      const below = Math.ceil(-min / step)
      const top = 127 + below
      const zero = logLevels(bits, octaves, top).findIndex((level) => level >= below)
      const code = logCode(bits, step, octaves, top, zero)
      return code.levels[0] < -128 ? [] : [code]
    }
  })
  return searchForms(forms, histogram, start)
}

function searchForms(forms: Form[], histogram: Histogram, start: Found): Found {
  const some = COVERAGE.filter((_, i) => i % FEWER === 0)
  const tried = forms.map((form) => ({ form, loss: Math.min(...some.flatMap(form).map((code) => histogram.lossOf(code))) }))
  tried.sort((a, b) => a.loss - b.loss)
  let best = start
  for (const { form } of tried.slice(0, KEPT)) {
    for (const coverage of COVERAGE) for (const code of form(coverage)) best = better(best, code, histogram)
  }
  return best
}
