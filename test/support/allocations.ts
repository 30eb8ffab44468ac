import type { Unit } from '../../lib/codes/allocate.js'

/** What allocations of bits are judged by. */

/** Bits an element. */
export const average = (units: Unit[], bits: number[]) =>
  units.reduce((sum, unit, u) => sum + unit.elements * bits[u], 0) / units.reduce((sum, unit) => sum + unit.elements, 0)

export const damageOf = (units: Unit[], bits: number[]) => units.reduce((sum, unit, u) => sum + unit.damage[unit.bits.indexOf(bits[u])], 0)

/** The least damage of all allocations under the bound. */
export function bruteForce(units: Unit[], bound: number): number {
  let best = Number.POSITIVE_INFINITY
  const walk = (bits: number[]) => {
    if (bits.length === units.length) {
      if (average(units, bits) <= bound) best = Math.min(best, damageOf(units, bits))
      return
    }
    for (const b of units[bits.length].bits) walk([...bits, b])
  }
  walk([])
  return best
}
