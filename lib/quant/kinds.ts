import type { Unit as Alternatives } from '../codes/allocate.js'
import type { Unit } from './assemble.js'

/**
 * Damages add up where errors are independent. Those of some kinds of operands are not: rounded probabilities do up to three times the damage that is
 * told, values less than that. So each kind is measured by itself, and its damages are scaled by what was found. Our definition.
 */

/** Nats. So few images do not tell smaller differences apart: both what was measured and what was told are taken to be that much more. */
const NOISE = 0.002
/** Of a scale, and of its inverse. */
const MOST = 8

/**
 * @param bits of each unit, from a first allocation
 * @param alternatives of the units whose widths are chosen, with the damages that are told
 * @param diverge the divergence of the model with these bits of each unit, nats
 * @param onMeasured after each kind
 * @returns the alternatives with scaled damages
 */
export async function scaleKinds(
  units: Unit[],
  bits: number[],
  alternatives: Map<Unit, Alternatives>,
  diverge: (bits: number[]) => Promise<number>,
  onMeasured: () => void,
): Promise<Map<Unit, Alternatives>> {
  const widest = units.map((unit, u) => alternatives.get(unit)?.bits[0] ?? bits[u])
  const least = await diverge(widest)
  const scaled = new Map<Unit, Alternatives>()
  for (const kind of kindsOf(alternatives)) {
    const members = [...alternatives].filter(([unit]) => unit.kind === kind)
    const measured = (await diverge(units.map((unit, u) => (unit.kind === kind ? bits[u] : widest[u])))) - least
    const told = members.reduce((sum, [unit, each]) => sum + addedDamage(each, bits[units.indexOf(unit)]), 0)
    const scale = Math.min(Math.max((Math.max(measured, 0) + NOISE) / (told + NOISE), 1 / MOST), MOST)
    for (const [unit, each] of members) scaled.set(unit, { ...each, damage: each.damage.map((damage) => damage * scale) })
    onMeasured()
  }
  return scaled
}

/** Those that have a choice. */
export const kindsOf = (alternatives: Map<Unit, Alternatives>): Unit['kind'][] => [
  ...new Set([...alternatives.keys()].map(({ kind }) => kind)),
]

/** What `width` adds to the damage at the widest. */
const addedDamage = ({ bits, damage }: Alternatives, width: number): number => Math.max(damage[bits.indexOf(width)] - damage[0], 0)
