import { monotone, type Unit, unreachable } from './allocate.js'
import type { breather } from './breathe.js'

/**
 * The least damage under a bound on the average, where damages add: the multiple-choice knapsack problem, by dynamic programming over the
 * bits that are spent (Sinha and Zoltners 1979). Beside it the greedy walk of allocate.ts gives away what its last step overshoots.
 */

/** Of the table, for all that could be spent above the narrowest widths. Costs are rounded up to cells, so that the bound holds. */
const MOST_CELLS = 1 << 16

/**
 * @param units widths descending, as in allocate.ts
 * @returns the width of each unit, with sum(bits * elements) <= average * sum(elements); of widths with the same damage a narrower one
 * @throws Error when even the narrowest widths exceed the bound
 */
export async function allocateKnapsack(units: Unit[], average: number, breathe: ReturnType<typeof breather>): Promise<number[]> {
  const total = units.reduce((sum, { elements }) => sum + elements, 0)
  const least = units.reduce((sum, { elements, bits }) => sum + elements * bits[bits.length - 1], 0)
  const budget = average * total + 1e-9 - least
  if (budget < 0) throw unreachable(average, least / total)
  const cell = cellOf(units, budget)
  const cells = Math.floor(budget / cell)
  const damages = units.map(({ damage }) => monotone(damage))
  const cost = (u: number, choice: number): number => {
    const { elements, bits } = units[u]
    return Math.ceil((elements * (bits[choice] - bits[bits.length - 1])) / cell)
  }

  // best[c]: the least damage of the units so far that spend at most c cells; choices[u][c]: what unit u has there.
  let best = new Float64Array(cells + 1)
  const choices: Uint8Array[] = []
  for (const [u, { bits }] of units.entries()) {
    const next = new Float64Array(cells + 1).fill(Number.POSITIVE_INFINITY)
    const chosen = new Uint8Array(cells + 1)
    // From the narrowest on, so that a wider one has to be better.
    for (let choice = bits.length - 1; choice >= 0; choice--) {
      const spent = cost(u, choice)
      const damage = damages[u][choice]
      for (let c = spent; c <= cells; c++) {
        const sum = best[c - spent] + damage
        if (sum < next[c]) {
          next[c] = sum
          chosen[c] = choice
        }
      }
      await breathe()
    }
    best = next
    choices.push(chosen)
  }

  const found: number[] = []
  let left = cells
  for (let u = units.length - 1; u >= 0; u--) {
    const choice = choices[u][left]
    found[u] = units[u].bits[choice]
    left -= cost(u, choice)
  }
  return found
}

/** Elements a cell: their greatest common divisor, with which costs are exact, or more. */
function cellOf(units: Unit[], budget: number): number {
  const common = units.reduce((divisor, { elements }) => greatestCommonDivisor(divisor, elements), 0)
  return Math.max(common, budget / MOST_CELLS, 1)
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}
