import type { Unit as Alternatives } from '../codes/allocate.js'
import type { Unit } from './assemble.js'

/**
 * Damages add up where errors are independent. Those of some kinds of operands are not: rounded probabilities do up to three times the
 * damage that is told, values less than that. So each kind of activation is measured by itself, the others at their widest and weights at
 * the widths of the first allocation, and its damages are scaled by what was found. Only what kinds do beside each other counts for an
 * allocation, so that distances of logits serve, which few images tell better apart than divergences. Our definition.
 */

/**
 * Of all that kinds add. So few images do not tell smaller shares apart: both what was measured and what was told are taken to be that much
 * more.
 */
const NOISE = 0.05

/**
 * @param bits of each unit, from a first allocation
 * @param alternatives of the units whose widths are chosen, with the damages that are told
 * @param distance of the predictions of the model with these bits of each unit, in any unit that adds up where errors are independent
 * @param onMeasured after each kind
 * @returns the alternatives with scaled damages
 */
export async function scaleKinds(
  units: Unit[],
  bits: number[],
  alternatives: Map<Unit, Alternatives>,
  distance: (bits: number[]) => Promise<number>,
  onMeasured: () => void,
): Promise<Map<Unit, Alternatives>> {
  const widest = units.map((unit, u) => alternatives.get(unit)?.bits[0] ?? bits[u])
  const least = await distance(widest)
  const kinds = kindsOf([...alternatives.keys()]).map((kind) => ({ kind, measured: 0, told: 0 }))
  for (const each of kinds) {
    const narrow = units.map((unit, u) => (unit.kind === each.kind ? bits[u] : widest[u]))
    each.measured = Math.max((await distance(narrow)) - least, 0)
    for (const [unit, damages] of alternatives) if (unit.kind === each.kind) each.told += addedDamage(damages, bits[units.indexOf(unit)])
    onMeasured()
  }
  const total = (of: 'measured' | 'told') => kinds.reduce((sum, kind) => sum + kind[of], 0)
  const [measured, told] = [total('measured'), total('told')]
  const scaleOf = new Map(kinds.map((each) => [each.kind, (share(each.measured, measured) + NOISE) / (share(each.told, told) + NOISE)]))
  return new Map(
    [...alternatives].map(([unit, each]) => {
      const scale = scaleOf.get(unit.kind) as number
      return [unit, { ...each, damage: each.damage.map((damage) => damage * scale) }]
    }),
  )
}

const share = (value: number, total: number): number => (total > 0 ? value / total : 0)

export const kindsOf = (units: Unit[]): Unit['kind'][] => [...new Set(units.map(({ kind }) => kind))]

/** What `width` adds to the damage at the widest. */
const addedDamage = ({ bits, damage }: Alternatives, width: number): number => Math.max(damage[bits.indexOf(width)] - damage[0], 0)
