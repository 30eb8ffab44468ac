import type { Code } from '../graph/scheme.js'
import { logCode, logLevels, regionsCode } from './code.js'
import type { Histogram } from './histogram.js'
import { better, COVERAGE, type Found } from './search.js'

/**
 * Searches of the code families that lie between the uniform code and free levels: contiguous regions and logarithmic codes. A byte has 256
 * levels, so that at 8 bits the uniform code has them all.
 */

/** A code for a range, of which the fraction `coverage` is covered; null where it does not fit a byte. */
type Form = (coverage: number) => Code | null

/** Each form is tried at every nth coverage; those of least loss at all. */
const FEWER = 6
const KEPT = 5

const WIDEST = 7
/** Numbers of regions, where each has two levels or more. */
const REGIONS = [2, 4]
const LARGEST_SHIFT = 7
/** Of log-sqrt2, and AdaLog's q / 37. */
const OCTAVES = [0.5, ...Array.from({ length: 74 }, (_, i) => (i + 1) / 37)]
/**
 * Of the highest level to the lowest power, as far as a base is tried: with less the code is next to uniform, with more most powers lie
 * below 1.
 */
const SPAN = { least: 4, most: 16 }

/**
 * Contiguous regions, {@link regionsCode}: the distances of levels in two or four regions, the step and the lowest level. Distances grow
 * from region to region, or, with values of both signs, to both sides.
 *
 * @param start returned where nothing is better
 */
export function searchRegions(histogram: Histogram, bits: number, start: Found, highest = 255): Found {
  if (bits > WIDEST) return start
  const { min, max } = histogram
  const forms = REGIONS.filter((regions) => 2 ** bits >= 2 * regions).flatMap((regions) => {
    const payload = 2 ** bits / regions
    const all = shiftsOf(regions, min < 0).map((shifts) => {
      const reach = payload * shifts.reduce((sum, s) => sum + 2 ** s, 0) - 2 ** shifts[regions - 1]
      return { shifts, reach }
    })
    return all
      .filter(({ reach }) => reach <= 255)
      .map(
        ({ shifts, reach }): Form =>
          (coverage) => {
            const step = (coverage * (max - min)) / reach
            // + 0 makes -0 a zero.
            const low = Math.max(Math.round((coverage * min) / step), -128) + 0
            const code = regionsCode(bits, step, shifts, low)
            return low + reach <= (low < 0 ? 127 : highest) && code.levels.includes(0) ? code : null
          },
      )
  })
  return searchForms(forms, histogram, start)
}

/** Shifts of so many regions, not all alike. */
function shiftsOf(regions: number, both: boolean): number[][] {
  const growing = rising(regions - 1, 0)
    .map((shifts) => [0, ...shifts])
    .filter((shifts) => shifts[regions - 1] > 0)
  if (regions !== 4 || !both) return growing
  return [...growing, ...rising(1, 1).flatMap(([left]) => rising(1, 0).map(([right]) => [left, 0, 0, right]))]
}

/** So many shifts from `from` on, none below the one before. */
function rising(count: number, from: number): number[][] {
  if (count === 0) return [[]]
  const firsts = Array.from({ length: LARGEST_SHIFT - from + 1 }, (_, i) => from + i)
  return firsts.flatMap((first) => rising(count - 1, first).map((rest) => [first, ...rest]))
}

/**
 * Logarithmic levels, {@link logCode}: base and step. With values of both signs the levels are shifted so that the lowest reaches the least
 * value, as AdaLog has it for GELU.
 *
 * @param start returned where nothing is better
 */
export function searchLog(histogram: Histogram, bits: number, start: Found, highest = 255): Found {
  const { min, max } = histogram
  if (bits > WIDEST || 2 ** bits > highest || !(max > 0)) return start
  const span = (octaves: number) => (2 ** bits - 2) * octaves
  const forms = OCTAVES.filter((octaves) => span(octaves) >= SPAN.least && span(octaves) <= SPAN.most).map((octaves): Form => {
    if (min >= 0) return (coverage) => logCode(bits, (coverage * max) / highest, octaves, highest)
    return (coverage) => {
      const step = (coverage * max) / 127
      const below = Math.ceil(-min / step)
      const top = 127 + below
      const zero = logLevels(bits, octaves, top).findIndex((level) => level >= below)
      const code = logCode(bits, step, octaves, top, zero)
      return code.levels[0] < -128 ? null : code
    }
  })
  return searchForms(forms, histogram, start)
}

function searchForms(forms: Form[], histogram: Histogram, start: Found): Found {
  const lossOf = (code: Code | null) => (code ? histogram.lossOf(code) : Number.POSITIVE_INFINITY)
  const some = COVERAGE.filter((_, i) => i % FEWER === 0)
  const tried = forms.map((form) => ({ form, loss: Math.min(...some.map((coverage) => lossOf(form(coverage)))) }))
  tried.sort((a, b) => a.loss - b.loss)
  let best = start
  for (const { form } of tried.slice(0, KEPT)) {
    for (const coverage of COVERAGE) {
      const code = form(coverage)
      if (code) best = better(best, code, histogram)
    }
  }
  return best
}
