/**
 * Greedy MP (MPTQ-ViT): which operand gets how many bits. All begin wide; again and again the unit that saves most for the divergence it
 * adds loses one bit, until the averages hold. Weights and activations have a budget each. The metric and the rest of the procedure are our
 * definition. The preset `mptq` goes by it; the walk of allocate.ts has the same metric, but damages that were told beforehand instead of
 * measured divergences.
 *
 * What a step adds is measured with all other units as wide as at the start. In a model of few bits every step, however small, turns other
 * roundings over and changes predictions by chance, about as much whatever the unit: measured there, large units look cheap and small ones
 * dear.
 */

export interface NarrowUnit {
  name: string
  kind: 'weight' | 'activation'
  /** Parameters of a weight, elements per image of an activation. */
  elements: number
  /** Where it begins. */
  bits: number
  /** Keeps its width, and counts in the average. */
  fixed: boolean
}

export interface NarrowStep {
  unit: string
  from: number
  to: number
  /** Of the model after the step. */
  divergence: number
  /** Averages after the step. */
  weightBits: number
  activationBits: number
}

export interface NarrowOptions {
  /** Bound on both averages. */
  average: number
  /** No unit gets narrower. */
  least: number
  /** Divergence of the model in which one unit alone has so many bits, all others as at the start. */
  alone: (unit: number, bits: number) => Promise<number>
  /** Divergence of the model after a step. */
  together: (unit: number, bits: number) => Promise<number>
  onStep?: (step: NarrowStep) => void
}

/** What a step adds at least: less is noise. */
const LEAST_DIVERGENCE = 1e-6
/** Of averages. */
const ROUNDING = 1e-9

/**
 * @returns the width of each unit, and the steps in order
 * @throws Error when the narrowest widths exceed the bound
 */
export async function narrow(units: NarrowUnit[], options: NarrowOptions): Promise<{ bits: number[]; trajectory: NarrowStep[] }> {
  return new Narrowing(units, options).run()
}

/** @throws Error that names the least average that holds, when it is above the bound */
export function checkReachable(units: NarrowUnit[], { average, least }: Pick<NarrowOptions, 'average' | 'least'>): void {
  const narrowest = units.map(({ bits, fixed }) => (fixed ? bits : least))
  for (const kind of ['weight', 'activation'] as const) {
    const reached = averageOf(units, narrowest, kind)
    if (reached <= average + ROUNDING) continue
    const enough = Math.ceil(100 * reached - ROUNDING) / 100
    throw new RangeError(
      `an average of ${average} bits (averageBits) cannot be reached: ${kind}s average ${enough.toFixed(2)} bits at least, ` +
        `with ${least} for each but those whose width is fixed`,
    )
  }
}

function averageOf(units: NarrowUnit[], bits: number[], kind: NarrowUnit['kind']): number {
  const members = units.map((unit, u) => ({ ...unit, bits: bits[u] })).filter((unit) => unit.kind === kind)
  const elements = members.reduce((sum, unit) => sum + unit.elements, 0)
  return elements > 0 ? members.reduce((sum, unit) => sum + unit.bits * unit.elements, 0) / elements : 0
}

class Narrowing {
  private readonly bits: number[]
  private readonly total = { weight: 0, activation: 0 }
  /** By unit what each seems to add by its next step. */
  private readonly added: number[] = []
  /** By unit its divergence alone, as it stands. */
  private readonly alone: number[] = []

  constructor(
    private readonly units: NarrowUnit[],
    private readonly options: NarrowOptions,
  ) {
    this.bits = units.map(({ bits }) => bits)
    for (const { kind, elements } of units) this.total[kind] += elements
  }

  async run(): Promise<{ bits: number[]; trajectory: NarrowStep[] }> {
    checkReachable(this.units, this.options)
    const trajectory: NarrowStep[] = []
    for (let open = this.open(); open.length > 0; open = this.open()) {
      for (const unit of open) if (this.added[unit] === undefined) await this.measure(unit)
      const step = await this.take(open.reduce((a, b) => (this.precedes(b, a) ? b : a)))
      trajectory.push(step)
      this.options.onStep?.(step)
    }
    return { bits: this.bits, trajectory }
  }

  /** Units that may lose a bit, and whose budget is still exceeded. */
  private open(): number[] {
    const over = { weight: this.exceeds('weight'), activation: this.exceeds('activation') }
    const all = this.units.map((_, unit) => unit)
    return all.filter((unit) => {
      const { kind, fixed } = this.units[unit]
      return !fixed && over[kind] && this.bits[unit] > this.options.least
    })
  }

  private async measure(unit: number): Promise<void> {
    const bits = this.bits[unit]
    this.alone[unit] ??= await this.options.alone(unit, bits)
    const next = await this.options.alone(unit, bits - 1)
    this.added[unit] = Math.max(next - this.alone[unit], LEAST_DIVERGENCE)
    this.alone[unit] = next
  }

  private async take(unit: number): Promise<NarrowStep> {
    const from = this.bits[unit]
    const to = from - 1
    this.bits[unit] = to
    delete this.added[unit]
    const divergence = await this.options.together(unit, to)
    const averages = { weightBits: this.average('weight'), activationBits: this.average('activation') }
    return { unit: this.units[unit].name, from, to, divergence, ...averages }
  }

  /** Most saved per divergence added; of equals what saves more, of these the first unit. */
  private precedes(a: number, b: number): boolean {
    const [savedA, savedB] = [this.saved(a), this.saved(b)]
    const [scoreA, scoreB] = [savedA / this.added[a], savedB / this.added[b]]
    if (scoreA !== scoreB) return scoreA > scoreB
    return savedA === savedB ? a < b : savedA > savedB
  }

  /** By one bit, in bits of the average. */
  private saved(unit: number): number {
    const { kind, elements } = this.units[unit]
    return elements / this.total[kind]
  }

  private average(kind: NarrowUnit['kind']): number {
    return averageOf(this.units, this.bits, kind)
  }

  private exceeds(kind: NarrowUnit['kind']): boolean {
    return this.average(kind) > this.options.average + ROUNDING
  }
}
