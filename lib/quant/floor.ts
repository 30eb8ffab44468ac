/**
 * The narrowest widths that keep accuracy: bisection on the average of bits.
 */

/** Averages that are tried lie this far apart. */
export const AVERAGE_STEP = 0.25
/** Where averages end. */
export const WIDEST_AVERAGE = 8

export interface Measured {
  averageBits: number
  /** Percentage points of top-1. */
  drop: number
}

export interface FloorSearch {
  /** Null: not even 8 bits hold. */
  found: Measured | null
  /** Everything that was measured, in that order. */
  tried: Measured[]
}

/**
 * The least of the averages least, least + 0.25, ..., 8 whose drop is within `maxDrop`: first the least, then 8, then by halving what lies
 * between. Drops are taken to fall with the average. Where they do not, what comes back still holds, as measured, and what is next below it
 * does not.
 *
 * @param least at most 8
 * @param measure drop in percentage points of the model with this average; called {@link mostMeasurements} times at most
 */
export async function leastAverage(
  least: number,
  maxDrop: number,
  measure: (averageBits: number) => Promise<number>,
): Promise<FloorSearch> {
  const tried: Measured[] = []
  const holds = async (averageBits: number): Promise<boolean> => {
    const drop = await measure(averageBits)
    tried.push({ averageBits, drop })
    return drop <= maxDrop
  }
  const averages = averagesFrom(least)
  let [below, at] = [0, averages.length - 1]
  if (await holds(averages[0])) at = 0
  else if (at === 0 || !(await holds(averages[at]))) return { found: null, tried }
  while (at - below > 1) {
    const middle = (below + at) >> 1
    if (await holds(averages[middle])) at = middle
    else below = middle
  }
  return { found: tried.find(({ averageBits }) => averageBits === averages[at]) ?? null, tried }
}

/** At most so many measurements does {@link leastAverage} make. */
export const mostMeasurements = (least: number): number => {
  const steps = averagesFrom(least).length - 1
  return steps === 0 ? 1 : 2 + Math.ceil(Math.log2(steps))
}

function averagesFrom(least: number): number[] {
  const averages: number[] = []
  for (let average = least; average < WIDEST_AVERAGE; average += AVERAGE_STEP) averages.push(average)
  return [...averages, WIDEST_AVERAGE]
}
