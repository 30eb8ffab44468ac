/**
 * Which operand gets how many bits, under a bound on the average: a greedy walk over damages that are known beforehand, as the option
 * `allocation: 'greedy'` asks for it. The idea is that of MPTQ-ViT's Greedy MP, of which narrow.ts is the published form, whose steps are
 * measured one by one. The default is exact: knapsack.ts.
 *
 * `damage` of a unit at a width is what this unit alone adds to the divergence from the float model (quant/damage.ts). Damages are taken as
 * additive; the selection metric is cost saved per damage added.
 */
export interface Unit {
  /** Parameters of a weight or elements per image of an activation. */
  elements: number
  /** Widths tried, descending; the first is where the search starts. */
  bits: number[]
  /** [bits.length], damage at each width; made monotone here (a narrower code is better than a wider one only by the luck of a search). */
  damage: number[]
}

/** A step that seems free (or better than free: noise) still costs this much, so that larger savings go first among such steps. */
const LEAST_DAMAGE = 1e-7

/**
 * @returns the width of each unit, with sum(bits * elements) <= average * sum(elements)
 * @throws when even the narrowest widths exceed the bound
 */
export function allocateGreedy(units: Unit[], average: number): number[] {
  const total = units.reduce((sum, unit) => sum + unit.elements, 0)
  const damages = units.map(({ damage }) => monotone(damage))
  const choice = units.map(() => 0)
  let cost = units.reduce((sum, unit) => sum + unit.bits[0] * unit.elements, 0)
  while (cost > average * total + 1e-9) {
    const step = bestStep(units, damages, choice)
    if (step === null) throw unreachable(average, cost / total)
    cost -= units[step.unit].elements * (units[step.unit].bits[choice[step.unit]] - units[step.unit].bits[step.to])
    choice[step.unit] = step.to
  }
  return choice.map((c, u) => units[u].bits[c])
}

export const unreachable = (average: number, least: number): Error =>
  new Error(`an average of ${average} bits (averageBits) cannot be reached: the narrowest codes average ${least.toFixed(2)} bits`)

/** @param damage widest first */
export function monotone(damage: number[]): number[] {
  let worst = 0
  return damage.map((each) => {
    worst = Math.max(worst, each)
    return worst
  })
}

/**
 * The step with the most bits saved per damage added. Steps may skip widths: a width that is dominated (much damage for a bit, then almost
 * none for the next) lies above the lower convex hull, and the hull is what the best ratio over all narrower widths walks along.
 */
function bestStep(units: Unit[], damage: number[][], choice: number[]): { unit: number; to: number } | null {
  let best: { unit: number; to: number } | null = null
  let bestScore = 0
  units.forEach((unit, u) => {
    const from = choice[u]
    for (let to = from + 1; to < unit.bits.length; to++) {
      const saved = unit.elements * (unit.bits[from] - unit.bits[to])
      const score = saved / Math.max(damage[u][to] - damage[u][from], LEAST_DAMAGE)
      if (score > bestScore) {
        bestScore = score
        best = { unit: u, to }
      }
    }
  })
  return best
}
