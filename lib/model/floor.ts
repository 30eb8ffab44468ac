import type { Scheme } from '../graph/scheme.js'
import { leastAverage } from '../quant/floor.js'
import type { Drop } from './drop.js'

/** An accuracy floor and what was reached. */
export interface FloorReached extends Drop {
  /** What was asked for, percentage points. */
  maxDrop: number
  /**
   * The bound on averages that holds; the averages themselves may be less, and a little more where it was given as `bits`, which leave the
   * patch embedding at 8.
   */
  averageBits: number
}

/**
 * @param least average to try
 * @param coverage of the scheme, for the message
 * @param at makes the quantized model of an average
 * @param dropOf measures it
 * @returns the model of the least average that holds
 * @throws Error that says what was measured when not even 8 bits hold
 */
export async function keepAccuracy<T>(
  least: number,
  maxDrop: number,
  coverage: Scheme['coverage'],
  at: (averageBits: number) => Promise<T>,
  dropOf: (made: T, averageBits: number) => Promise<Drop>,
): Promise<{ made: T; floor: FloorReached }> {
  let held: { made: T; floor: FloorReached } | undefined
  let last: Drop | undefined
  const { found } = await leastAverage(least, maxDrop, async (averageBits) => {
    const made = await at(averageBits)
    last = await dropOf(made, averageBits)
    if (last.drop <= maxDrop) held = { made, floor: { maxDrop, averageBits, ...last } }
    return last.drop
  })
  if (!found) throw new Error(refusal(maxDrop, coverage, last as unknown as Drop))
  return held as unknown as { made: T; floor: FloorReached }
}

/** @param drop at 8 bits */
function refusal(maxDrop: number, coverage: Scheme['coverage'], { drop, interval, images, labelled }: Drop): string {
  const [low, high] = interval.map((points) => points.toFixed(2))
  const measured = labelled
    ? `top-1 falls by ${drop.toFixed(2)} points (95 % interval ${low} .. ${high})`
    : `${drop.toFixed(2)} % of the answers change (95 % interval ${low} .. ${high}), for better or worse, since there are no labels`
  const remedies = [
    ...(interval[0] <= maxDrop ? ['validate on more images, because so few cannot tell this from chance'] : []),
    ...(labelled ? [] : ['validate on images with labels']),
    ...['allow a larger maxDrop', 'calibrate on more images'],
    ...(coverage === 'full' ? ["take the coverage 'partial'"] : []),
  ]
  return `maxDrop ${maxDrop} cannot be kept: even with 8 bits for all, ${measured} on ${images} images. Remedies: ${remedies.join('; ')}.`
}
