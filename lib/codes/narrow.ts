/**
 * Greedy MP (MPTQ-ViT): which operand gets how many bits. All begin wide; again and again the unit that saves most for the divergence it adds loses one
 * bit, until the averages hold. Weights and activations have a budget each. The metric and the rest of the procedure are our definition.
 *
 * Divergences are those of whole models, not sums over units. They are measured lazily: what a step would add hardly ever shrinks while other units
 * are narrowed, so an old measurement is a bound on how good a step is, and only steps that would be taken are measured again.
 *
 * What a step adds is taken as the mean over images plus the standard error of that mean: images are few, and among many steps there are always some that
 * seem to do good. Those that disturb predictions much betray themselves by how much images differ.
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
  /** Of the model after the step, mean over images. */
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
  /** Divergence of each image, of the model whose units have these widths. */
  measure: (bits: number[]) => Promise<ArrayLike<number>>
  /** How many steps are measured anew before one is taken; default: until the best is known. */
  measurements?: number
  onStep?: (step: NarrowStep) => void
}

/** What a step seems to add at least: less is noise. */
const LEAST_DIVERGENCE = 1e-6
/** How much more the next bit of a unit is expected to add: a step twice as large has four times the squared error. */
const GROWTH = 4

/** One bit less of one unit. */
interface Candidate {
  unit: number
  /** Measured, or bounded from below. */
  added: number
  /** Divergences after the step, when it was measured on the model as it is. */
  divergences: ArrayLike<number> | null
}

/**
 * @returns the width of each unit, and the steps in order
 * @throws Error when the narrowest widths exceed the bound
 */
export async function narrow(units: NarrowUnit[], options: NarrowOptions): Promise<{ bits: number[]; trajectory: NarrowStep[] }> {
  return new Narrowing(units, options).run()
}

class Narrowing {
  private readonly bits: number[]
  private readonly total = { weight: 0, activation: 0 }
  private readonly trajectory: NarrowStep[] = []
  private candidates: Candidate[] = []
  private divergences: ArrayLike<number> = []

  constructor(
    private readonly units: NarrowUnit[],
    private readonly options: NarrowOptions,
  ) {
    this.bits = units.map(({ bits }) => bits)
    for (const { kind, elements } of units) this.total[kind] += elements
  }

  async run(): Promise<{ bits: number[]; trajectory: NarrowStep[] }> {
    this.checkReachable()
    if (this.exceeds('weight') || this.exceeds('activation')) {
      this.divergences = await this.options.measure(this.bits)
      this.candidates = this.units.map((_, unit) => ({ unit, added: 0, divergences: null }))
      for (const candidate of this.open()) await this.measure(candidate)
    }
    for (let open = this.open(); open.length > 0; open = this.open()) this.take(await this.best(open))
    return { bits: this.bits, trajectory: this.trajectory }
  }

  /** Steps of units whose budget is still exceeded. */
  private open(): Candidate[] {
    return this.candidates.filter(({ unit }) => {
      const { kind, fixed } = this.units[unit]
      return !fixed && this.bits[unit] > this.options.least && this.exceeds(kind)
    })
  }

  private async best(open: Candidate[]): Promise<Candidate> {
    const { measurements = open.length } = this.options
    for (let measured = 0; ; measured++) {
      const known = measured < measurements ? open : open.filter(({ divergences }) => divergences !== null)
      const first = known.reduce((a, b) => (this.precedes(b, a) ? b : a))
      if (first.divergences !== null) return first
      await this.measure(first)
    }
  }

  private async measure(candidate: Candidate): Promise<void> {
    const bits = this.bits.map((width, unit) => (unit === candidate.unit ? width - 1 : width))
    candidate.divergences = await this.options.measure(bits)
    candidate.added = pessimisticDifference(candidate.divergences, this.divergences)
  }

  private take(candidate: Candidate): void {
    const { unit } = candidate
    const from = this.bits[unit]
    this.bits[unit] = from - 1
    this.divergences = candidate.divergences as ArrayLike<number>
    for (const other of this.candidates) other.divergences = null
    candidate.added = Math.max(candidate.added, LEAST_DIVERGENCE) * GROWTH
    const step = { unit: this.units[unit].name, from, to: from - 1, divergence: mean(this.divergences) }
    this.trajectory.push({ ...step, weightBits: this.average('weight'), activationBits: this.average('activation') })
    this.options.onStep?.(this.trajectory[this.trajectory.length - 1])
  }

  /** Most saved per divergence added; of equals what saves more, of these the first unit. */
  private precedes(a: Candidate, b: Candidate): boolean {
    const [savedA, savedB] = [this.saved(a.unit), this.saved(b.unit)]
    const [scoreA, scoreB] = [savedA / Math.max(a.added, LEAST_DIVERGENCE), savedB / Math.max(b.added, LEAST_DIVERGENCE)]
    if (scoreA !== scoreB) return scoreA > scoreB
    return savedA === savedB ? a.unit < b.unit : savedA > savedB
  }

  /** By one bit, in bits of the average. */
  private saved(unit: number): number {
    const { kind, elements } = this.units[unit]
    return elements / this.total[kind]
  }

  private average(kind: NarrowUnit['kind'], bits: number[] = this.bits): number {
    const sum = this.units.reduce((total, unit, u) => total + (unit.kind === kind ? bits[u] * unit.elements : 0), 0)
    return this.total[kind] > 0 ? sum / this.total[kind] : 0
  }

  private exceeds(kind: NarrowUnit['kind']): boolean {
    return this.average(kind) > this.options.average + 1e-9
  }

  private checkReachable(): void {
    const { average, least } = this.options
    const narrowest = this.units.map(({ bits, fixed }) => (fixed ? bits : least))
    for (const kind of ['weight', 'activation'] as const) {
      const reached = this.average(kind, narrowest)
      if (reached <= average + 1e-9) continue
      throw new Error(
        `an average of ${average} bits cannot be reached: with ${least} bits each, ${kind}s average ${reached.toFixed(2)} bits`,
      )
    }
  }
}

const mean = (values: ArrayLike<number>): number => Array.from(values).reduce((sum, x) => sum + x, 0) / values.length

/** Of paired values the mean of a - b, and its standard error on top. */
function pessimisticDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const count = a.length
  const difference = mean(a) - mean(b)
  let squares = 0
  for (let i = 0; i < count; i++) squares += (a[i] - b[i] - difference) ** 2
  return difference + (count > 1 ? Math.sqrt(squares / (count - 1) / count) : 0)
}
