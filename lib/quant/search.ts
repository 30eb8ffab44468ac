import { type Unit as Alternatives, allocateGreedy } from '../codes/allocate.js'
import { breather } from '../codes/breathe.js'
import { meanAndSpread } from '../codes/divergence.js'
import { allocateKnapsack } from '../codes/knapsack.js'
import type { Observation } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import { isStored } from '../graph/operands.js'
import type { Scheme } from '../graph/scheme.js'
import { assemble, type Divergence, measureDivergence, type Unit } from './assemble.js'
import { Candidates } from './candidates.js'
import { Damage } from './damage.js'
import { type Information, measureInformation, outputErrors } from './information.js'
import { kindsOf, scaleKinds } from './kinds.js'
import { edgeMoments } from './moments.js'
import { type Calibration, firstImages, observeFirstRows } from './observe.js'
import { averageBesideFine, findOperands, fineElements, type Operands } from './operands.js'
import { NOTHING, type Without } from './parts.js'
import { reshape } from './reshape.js'
import { measureRowSensitivity, type RowSensitivity } from './row-sensitivity.js'
import { type Choice, quantizeInSequence } from './sequential.js'
import { drawStreamRows, type StreamRows, withStreamRows } from './stream-rows.js'

/**
 * The preset `best`: what is measured once for a model and its calibration images, and what follows from it for any widths.
 */

export interface Progress {
  stage: 'observe' | 'smooth' | 'measure' | 'quantize'
  done: number
  total: number
}

export interface SearchOptions {
  coverage: Scheme['coverage']
  /** Whether the first row of each image shall be fine where other rows have less than 8 bits; default false. */
  fineFirst?: boolean
  /** Parts that are left out. */
  without?: Without
  /** For an average: widths step by step where a bit does least, not with the least sum of damages. */
  greedy?: boolean
  store?: DamageStore
  threads?: number
  signal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

/**
 * The width of every operand, or a bound on the average of weights and that of activations. `among` names for each weight the widths that
 * it may have; activations, which are bytes at any width, then keep the widest, and the bound is that of weights alone.
 */
export type Widths = ((operand: Unit) => number) | { averageBits: number; among?: Record<string, number[]> }

export interface QuantizedGraph extends Divergence {
  graph: Graph
  scheme: Scheme
  /** What was quantized: rotated and smoothed, with the edges of `graph`. It computes what the model computes. */
  float: Graph
}

/** Where damages are kept that an earlier search measured for the same model, images, coverage and parts. */
export interface DamageStore {
  /** @returns what was set for this unit last, or undefined */
  get(unit: string): number[] | undefined
  set(unit: string, damages: number[]): Promise<void>
}

/** Widths that an allocation chooses from, widest first. */
export const WIDTHS = [8, 7, 6, 5, 4, 3, 2]
/** Of them those that every average is searched among. */
export const USUAL_WIDTHS = WIDTHS.slice(0, -1)
/** Averages below this take 2-bit operands into account: what they do to each other is far from additive. */
const NEEDS_TWO_BITS = 4
/**
 * Share of the calibration images that codes in sequence are tried on: how well they do there says little of other images, so the others
 * decide whether the model is found in sequence, on all of them.
 */
const FITTED = 0.75
/** The width of the patch embedding where all have one width, and of what is rounded in registers and never stored. */
const WIDEST = 8

/** Those that a bound on the average is searched among, widest first. */
export const widthsTried = (averageBits: number): number[] => (averageBits < NEEDS_TWO_BITS ? WIDTHS : USUAL_WIDTHS)

export class Search {
  private readonly units: Unit[]
  private readonly candidates: Candidates
  private readonly damage: Damage
  /** By unit: at each of WIDTHS, or the first of them. */
  private readonly damages = new Map<Unit, number[]>()
  /** Measured for the first sequence. */
  private rowSensitivity: RowSensitivity | null = null

  private constructor(
    /** Rotated and smoothed: computes what the model computes. */
    readonly float: Graph,
    private readonly found: Operands,
    private readonly observations: Map<string, Observation>,
    moments: Map<string, Float32Array>,
    private readonly information: Information,
    private readonly streamRows: StreamRows,
    private readonly calibration: Calibration,
    private readonly logits: Float32Array,
    private readonly breathe: ReturnType<typeof breather>,
    private readonly options: SearchOptions,
  ) {
    const { threads, signal, without } = options
    this.units = [...found.weights, ...found.activations]
    const run = { threads, signal }
    this.candidates = new Candidates(float, observations, moments, breathe, information.columns, run, without)
    this.damage = new Damage(float, this.candidates, information, breathe, run)
  }

  static async prepare(model: Graph, calibration: Calibration, options: SearchOptions): Promise<Search> {
    const { threads, signal, coverage, fineFirst, without = NOTHING } = options
    const breathe = breather(signal)
    const run = { threads, signal }
    const { graph, observations: observed, logits } = await reshape(model, calibration, breathe, options)
    const found = findOperands(graph, coverage, fineFirst)
    const information = without.has('fisher')
      ? outputErrors(graph, observed)
      : await measureInformation(graph, found, calibration, logits, run)
    const read = found.activations.filter(({ readers }) => readers.length > 0).map(({ name }) => name)
    // Weights of this model, like those of the sequence, know nothing of the images that judge both.
    const known = without.has('sequence') ? calibration : fittedOf(calibration)
    const moments = await edgeMoments(graph, read, known, run)
    const drawn = without.has('stream-rows') ? [] : found.activations
    const stream = await drawStreamRows(graph, drawn, calibration, logits, run, known.images)
    const observations = withStreamRows(observed, stream)
    for (const [name, firstRows] of await observeFirstRows(graph, found.activations, calibration, run)) {
      observations.set(name, { ...(observations.get(name) as Observation), firstRows })
    }
    return new Search(graph, found, observations, moments, information, stream.rows, calibration, logits, breathe, options)
  }

  /** The model at these widths. */
  async quantize(widths: Widths): Promise<QuantizedGraph> {
    const { coverage, without = NOTHING } = this.options
    const bits = typeof widths === 'function' ? this.units.map((unit) => this.widthOf(unit, widths)) : await this.allocate(widths)
    const fitted = fittedOf(this.calibration)
    // Of fewer than four images none is left to judge by.
    const turns = without.has('sequence') || fitted.images === this.calibration.images ? 0 : 2
    const [operands, nodes] = [this.units.length, this.float.nodes.length]
    // Rows are measured for the first sequence, and passed over by all others.
    const measured = turns === 0 || without.has('row-sensitivity') ? 0 : this.calibration.images
    const total = operands + measured + turns * nodes
    const report = (done: number) => this.options.onProgress?.({ stage: 'quantize', done, total })
    const parallel = await this.diverge(await assemble(this.float, this.units, bits, this.candidates, coverage, report))
    if (turns === 0) return parallel
    // The sequence holds as much of its own.
    this.candidates.release()
    const chosen = new Map(this.units.map(({ name }, u) => [name, bits[u]]))
    const choice: Choice = {
      ...{ coverage, without },
      bits: (name: string) => chosen.get(name) as number,
      importance: this.information.columns,
      streamRows: this.streamRows,
      rowSensitivity: without.has('row-sensitivity') ? new Map() : await this.sensitivity((done) => report(operands + done)),
    }
    const trial = await this.quantizeOn(fitted, choice, (done) => report(operands + measured + done))
    if (unfitted(trial, this.calibration) < unfitted(parallel, this.calibration)) {
      return this.quantizeOn(this.calibration, choice, (done) => report(operands + measured + nodes + done))
    }
    report(total)
    return parallel
  }

  private async sensitivity(onProgress: (done: number) => void): Promise<RowSensitivity> {
    const { threads, signal } = this.options
    const { float, found, calibration, logits } = this
    this.rowSensitivity ??= await measureRowSensitivity(float, found.activations, calibration, logits, { threads, signal, onProgress })
    return this.rowSensitivity
  }

  /** In sequence. */
  private async quantizeOn(
    images: Calibration,
    choice: Choice,
    onProgress: (done: number) => void,
  ): Promise<QuantizedGraph & { distances: Float64Array }> {
    const { threads, signal } = this.options
    const { float, found, observations, breathe } = this
    return this.diverge(await quantizeInSequence(float, found, observations, choice, images, breathe, { threads, signal, onProgress }))
  }

  private async diverge(quantized: { graph: Graph; scheme: Scheme }): Promise<QuantizedGraph & { distances: Float64Array }> {
    const { threads, signal } = this.options
    return { ...quantized, float: this.float, ...(await measureDivergence(quantized, this.calibration, this.logits, { threads, signal })) }
  }

  private widthOf(unit: Unit, widths: (operand: Unit) => number): number {
    return !isStored(unit) || readsImage(this.float, unit) ? WIDEST : widths(unit)
  }

  private async allocate({ averageBits, among }: Exclude<Widths, (operand: Unit) => number>): Promise<number[]> {
    const even = this.options.without?.has('allocation') ?? false
    const tried = even ? [Math.ceil(averageBits), Math.floor(averageBits)] : widthsTried(averageBits)
    const alternatives = new Map<Unit, Alternatives>()
    const stored = this.units.filter((unit) => isStored(unit) && (!among || unit.kind === 'weight'))
    const activations = stored.filter(({ kind }) => kind !== 'weight')
    const total = stored.length + (even ? 0 : kindsOf(activations).length)
    let done = 0
    const report = () => {
      this.options.signal?.throwIfAborted()
      this.options.onProgress?.({ stage: 'measure', done: ++done, total })
    }
    for (const unit of stored) {
      const widths = among?.[unit.name] ?? tried
      const all = even ? widths.map(() => 0) : await this.damagesOf(unit, tried)
      alternatives.set(unit, { elements: unit.elements, bits: widths, damage: widths.map((w) => (even ? 0 : all[WIDTHS.indexOf(w)])) })
      report()
    }
    const bits = await this.spread(alternatives, averageBits, even)
    if (even || activations.length === 0) return bits
    const { float, units, candidates, options } = this
    const distance = async (bits: number[]) =>
      meanAndSpread((await this.diverge(await assemble(float, units, bits, candidates, options.coverage))).distances).mean
    const told = new Map(activations.map((unit) => [unit, alternatives.get(unit) as Alternatives]))
    const scaled = await scaleKinds(units, bits, told, distance, report)
    return this.spread(new Map([...alternatives, ...scaled]), averageBits, even)
  }

  /** Bounds the averages of weights and of activations. */
  private async spread(alternatives: Map<Unit, Alternatives>, averageBits: number, even: boolean): Promise<number[]> {
    const chosen = new Map<Unit, number>()
    for (const weights of [true, false]) {
      const members = [...alternatives].filter(([{ kind }]) => (kind === 'weight') === weights)
      if (members.length === 0) continue
      const each = members.map(([unit, alternatives]) => ({ ...alternatives, elements: unit.elements - fineElements(unit) }))
      const average = averageBesideFine(
        members.map(([unit]) => unit),
        averageBits,
      )
      const stepwise = even || this.options.greedy
      const bits = stepwise ? allocateGreedy(each, average) : await allocateKnapsack(each, average, this.breathe)
      members.forEach(([unit], i) => chosen.set(unit, bits[i]))
    }
    return this.units.map((unit) => chosen.get(unit) ?? WIDEST)
  }

  /** @param tried the first of WIDTHS, or all */
  private async damagesOf(unit: Unit, tried: number[]): Promise<number[]> {
    const key = `${unit.kind} ${unit.name}${unit.kind !== 'weight' && unit.fineFirst ? ' fine' : ''}`
    const known = this.damages.get(unit) ?? this.options.store?.get(key)
    const damages = known && known.length >= tried.length ? known : await this.damage.of(unit, tried)
    if (damages !== known) await this.options.store?.set(key, damages)
    this.damages.set(unit, damages)
    return damages
  }
}

/** Of so many calibration images those that codes in sequence are tried on. */
export const fittedImages = (images: number): number => Math.ceil(FITTED * images)

const fittedOf = (calibration: Calibration): Calibration => firstImages(calibration, fittedImages(calibration.images))

/** How far logits are from the float model's on the images that codes in sequence are not tried on. */
function unfitted({ distances }: { distances: Float64Array }, calibration: Calibration): number {
  return meanAndSpread(distances.slice(fittedOf(calibration).images)).mean
}

/** The patch embedding: its weight, and the edge that feeds it. */
export function readsImage(graph: Graph, unit: Unit): boolean {
  const edge = unit.kind === 'weight' ? unit.input : unit
  return graph.nodes.some((node) => node.op === 'patchify' && node.output === edge.name)
}
