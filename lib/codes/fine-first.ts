import { type Code, FINE_BITS } from '../graph/scheme.js'
import { positive, uniformCode } from './code.js'

/**
 * A code whose first row has all that a byte can tell apart (Code.fineFirst). Both share the step, so that whoever multiplies bytes knows
 * nothing of it: the step has to let a byte reach as far as the first row and as the levels of the other rows do, which are rounded to
 * multiples of it.
 */

/** Where the integers of a byte may begin: 0 or -128; -128; or at any even number. */
export type Lowest = 'plain' | 'signed' | 'any'

/**
 * @param fine the code that the first row would have by itself; null: one that reaches as far as that of the others
 * @returns the code with the family from which its levels came; one of 8 bits is uniform, and needs no fine row
 */
export function withFineFirst(code: Code, fine: Code | null, lowest: Lowest): Code {
  const ends = [code, fine ?? code].map(({ levels, step }) => [levels[0] * step, levels[levels.length - 1] * step])
  const [low, high] = [Math.min(...ends.map(([from]) => from)), Math.max(...ends.map(([, to]) => to))]
  const { fineFirst, step } = gridOf(low, high, lowest)
  if (code.bits === FINE_BITS) return { ...code, ...uniformCode(FINE_BITS, step, fineFirst) }
  // What was unlike enough to need two levels may need one now: levels may be equal.
  const levels = code.levels.map((level) => Math.min(Math.max(Math.round((level * code.step) / step), fineFirst), fineFirst + 255) + 0)
  return { ...code, family: code.family === 'uniform' ? 'codebook' : code.family, levels, step, fineFirst }
}

/** The finest 256 consecutive integers times a step that reach from `low` <= 0 to `high` >= 0. */
function gridOf(low: number, high: number, lowest: Lowest): { fineFirst: number; step: number } {
  if (low >= 0 && lowest !== 'signed') return { fineFirst: 0, step: positive(high / 255) }
  if (lowest !== 'any') return { fineFirst: -128, step: positive(Math.max(high / 127, low / -128)) }
  // The even number below `low` may be two steps away.
  const step = positive((high - low) / 253)
  return { fineFirst: Math.max(2 * Math.floor(low / step / 2), -254), step }
}
