import type { Dataset } from '../images/dataset.js'
import type { ImageInput } from '../images/image.js'
import type { Latency } from '../quant/latency.js'
import { EXTRAS, type Part } from '../quant/parts.js'
import { type AnyPart, type Preset, partsOf } from '../quant/presets.js'
import { NARROWEST, PRESETS } from '../quant/published/parts.js'
import type { Allocation, PublicWidths } from '../quant/quantizer.js'
import type { Progress } from '../quant/search.js'
import { checkSeed } from '../random.js'
import { checkOptionsOf, type Known, kindOf, show } from '../values.js'
import { checkDevice } from './device.js'
import { DEVICE_OPTIONS } from './known-options.js'
import type { DeviceOptions } from './model.js'
import type { QuantizationReport } from './report.js'

/** A path that `openDataset` understands, a dataset, or images. */
export type Images = string | Dataset | ImageInput[]

/** Widths: one of `bits`, `weightBits` with `activationBits`, `averageBits`. Without any of them and without `maxDrop`, 8 bits. */
export interface QuantizeOptions extends DeviceOptions {
  /** Images like those that the model will see. Labels are not needed; `maxDrop` uses them where they are there. */
  calibrate: Images
  /**
   * - 'best' (default): all that is known here
   * - 'mptq', 'tsptq': MPTQ-ViT (arXiv 2401.14895) and TSPTQ-ViT (arXiv 2305.12901) as published
   * - 'minmax': the baseline, codes that cover all that calibration saw
   */
  preset?: Preset
  /** 'full' (default): all that is stored between the patches and the logits is codes; 'partial': the operands of matrix products. */
  coverage?: 'full' | 'partial'
  /** The width of every weight and every activation, 2..8; the patch embedding keeps 8. */
  bits?: number
  /** The width of every weight, 2..8; when only one of both is given, the other is 8. */
  weightBits?: number
  /** The width of every activation, 2..8. */
  activationBits?: number
  /**
   * Bounds the average of weights and, separately, that of activations, 2..8 (mptq: somewhat above 3, as the patch embedding keeps 8); the
   * widths are searched. Not for tsptq and minmax.
   */
  averageBits?: number
  /** See {@link QuantizerOptions.allocation}; only with 'best'. */
  allocation?: Allocation
  /**
   * Parts of the preset that are left out, to see what each of them buys. Of 'best', beside those of `with` that are not asked for, in the
   * order of their steps: 'rotation', 'head-rotation', 'splitting', 'smoothing' (with it goes 'repq'), 'repq', 'fisher', 'stream-rows',
   * 'relative-softmax', 'v2sf', 'o2sf', 'families', 'codebooks', 'head-steps', 'row-steps', 'compensation', 'descent', 'bias', 'allocation'
   * (not with `maxDrop` or the objective 'latency'; with it goes 'class-token'), 'class-token', 'sequence' (with it go 'row-sensitivity',
   * 'norms' and 'refit'), 'row-sensitivity', 'norms', 'refit'. Of 'tsptq': 'search', 'fisher', 'v2sf', 'o2sf'; of 'mptq' also 'sq-b',
   * 'opt-m' and, not with `averageBits`, 'greedy-mp'. docs/quantization.md says what each does and what it buys.
   */
  without?: readonly AnyPart[]
  /** Only with 'best': 'repq' or 'norms' or both, which are left out by default because they harm some models. */
  with?: readonly Part[]
  /**
   * What widths are searched for, with `averageBits` or `maxDrop`; only with 'best', and not with the allocation 'even'.
   *
   * - 'bits' (default): as few bits of weights and of activations as the bounds ask for
   * - 'latency': first each layer is timed at each width on this machine. A width for which a narrower one is faster loses both time and
   *   bytes, and is never chosen. Activations are bytes at any width, so they keep 8 bits, and the average is that of weights. Another
   *   machine, or a busy one, may choose otherwise.
   */
  objective?: 'bits' | 'latency'
  /**
   * An accuracy floor, with 'best' only: top-1 may fall by so many percentage points, 0..100, on the images of `validate`. `averageBits` or
   * `bits` is then the least, 3 when neither is given, and averages rise in steps of 0.25 until the drop holds. Where not even 8 bits hold,
   * `quantize` throws and says what was measured. Without labels the drop is the share of images whose top-1 changes, which is never less
   * than the drop.
   */
  maxDrop?: number
  /**
   * What `maxDrop` is measured on. Default: images of `calibrate` that were not drawn, 1000 at most by `seed`; where fewer than 100 are
   * left, those that were drawn, with a warning, since that is optimistic.
   */
  validate?: Images
  /** How many images are drawn; default 128, or all when there are fewer. */
  calibrationImages?: number
  /** Fixes which images are drawn, default 0. */
  seed?: number
  /**
   * A folder, made when it is not there, that keeps what takes long: damages of operands, so that an interrupted search goes on, and
   * quantized models, so that the same call returns at once with the same model. Files are named by a hash of all that they depend on; old
   * ones may be deleted at any time.
   */
  cache?: string
  signal?: AbortSignal
  /**
   * Asks for a report of all layers, and gets it before the promise settles. It is made here and nowhere else, because a quantized model
   * does not keep the float weights, which smoothing and rotation have changed, that it has to be compared with.
   */
  onReport?: (report: QuantizationReport) => void | Promise<void>
  /**
   * Within a stage `done` rises and `total` stays. With `maxDrop`, `total` is that of the most models that may be tried, so that a stage
   * may end before it.
   */
  onProgress?: (progress: { stage: 'read' | 'latency' | Progress['stage'] | 'validate' | 'report'; done: number; total: number }) => void
  /**
   * Called once before the search with the seconds that it will take, right within a factor of two or so; not when the result is in the
   * cache and no report is asked for.
   */
  onEstimate?: (seconds: number) => void
  /** With the objective 'latency', called once with what was measured, before the search. */
  onLatency?: (latency: Latency) => void
  /**
   * Told what may spoil the result, as soon as it is known; `model.quantization.warnings` has all of them. At the end also told which
   * layers of the model fall to a slow path on this machine, and why, which is no property of the model: `model.advice()`.
   */
  onWarning?: (message: string) => void
}

const KNOWN: Known<QuantizeOptions> = {
  ...{ calibrate: true, calibrationImages: true, seed: true, preset: true, coverage: true, allocation: true, cache: true, objective: true },
  ...{ without: true, with: true, bits: true, weightBits: true, activationBits: true, averageBits: true, maxDrop: true, validate: true },
  ...DEVICE_OPTIONS,
  ...{ signal: true, onReport: true, onProgress: true, onEstimate: true, onLatency: true },
}

const WIDEST = 8
/** The least average that an accuracy floor alone tries. */
const FLOOR_FROM = 3

/** @throws TypeError for options that are unknown or do not go together, RangeError for values out of range */
export function checkOptions(options: QuantizeOptions): void {
  checkOptionsOf('quantize', options, KNOWN)
  if (options.calibrate === undefined) throw new TypeError('calibrate is required: images that are like those the model will see')
  checkDevice(options)
  checkChoices(options)
  checkWithout(options)
  checkWith(options)
  checkWidths(options)
  checkObjective(options)
  checkFloor(options)
  const { calibrationImages, seed, cache } = options
  if (calibrationImages !== undefined && !(Number.isInteger(calibrationImages) && calibrationImages >= 1)) {
    throw new RangeError(`calibrationImages must be a positive integer, not ${calibrationImages}`)
  }
  if (seed !== undefined) checkSeed(seed)
  if (cache !== undefined && (typeof cache !== 'string' || cache === '')) throw new TypeError('cache must be the path of a folder')
}

function checkChoices({ preset, coverage, allocation, objective, averageBits, maxDrop }: QuantizeOptions): void {
  const choices = { preset: [preset, ['best', ...Object.keys(PRESETS).reverse()]], coverage: [coverage, ['full', 'partial']] } as const
  const searches = { allocation: [allocation, ['knapsack', 'greedy', 'even']], objective: [objective, ['bits', 'latency']] } as const
  for (const [name, [value, known]] of Object.entries({ ...choices, ...searches })) {
    if (value === undefined || (known as readonly string[]).includes(value)) continue
    throw new TypeError(`${name} must be ${known.map((each) => `'${each}'`).join(' or ')}, not '${value}'`)
  }
  if (allocation !== undefined && !isBest(preset)) throw new TypeError(`allocation is an option of the preset best, not of ${preset}`)
  // 'even' also says what is left out for times, which any widths may want.
  if (allocation !== undefined && allocation !== 'even' && averageBits === undefined && maxDrop === undefined) {
    throw new TypeError(`the allocation '${allocation}' spreads an average: give averageBits or maxDrop`)
  }
}

function checkWith({ with: extras, without, preset }: QuantizeOptions): void {
  if (extras === undefined) return
  if (!Array.isArray(extras)) throw new TypeError(`with must be a list of parts, not ${kindOf(extras)}`)
  for (const part of extras) {
    if (!EXTRAS.includes(part))
      throw new TypeError(`with: ${show(part)} is none of the parts that are left out by default: ${EXTRAS.join(', ')}`)
    if (without?.includes(part)) throw new TypeError(`with and without both have the part ${show(part)}: give it to one of them`)
  }
  if (!isBest(preset)) throw new TypeError(`with asks for parts of the preset best, not of ${preset}`)
}

function checkWithout({ without, preset = 'best', allocation, averageBits }: QuantizeOptions): void {
  if (without === undefined) return
  if (!Array.isArray(without)) throw new TypeError(`without must be a list of parts, not ${kindOf(without)}`)
  const parts = partsOf(preset)
  for (const part of without) {
    if (parts.includes(part)) continue
    throw new TypeError(`without: the preset ${preset} has no part ${show(part)}; its parts are ${parts.join(', ') || 'none'}`)
  }
  if (averageBits !== undefined && without.includes('greedy-mp')) {
    throw new TypeError("averageBits needs the part 'greedy-mp', which without leaves out")
  }
  if (without.includes('allocation') && allocation !== undefined && allocation !== 'even') {
    throw new TypeError(`the allocation '${allocation}' is the part that without: ['allocation'] leaves out: give one of them`)
  }
}

/** Whether widths for an average follow from the damage they do. */
export const looksForWidths = ({ allocation, without }: QuantizeOptions): boolean =>
  allocation !== 'even' && !without?.includes('allocation')

/** What of the options keeps {@link looksForWidths} from it. */
const blind = ({ allocation }: QuantizeOptions): string => (allocation === 'even' ? "the allocation 'even'" : "without: ['allocation']")

const isBest = (preset: QuantizeOptions['preset']): boolean => preset === undefined || preset === 'best'

function checkWidths(options: QuantizeOptions): void {
  const { bits, averageBits, preset } = options
  const given = [bits, options.weightBits ?? options.activationBits, averageBits].filter((value) => value !== undefined)
  if (given.length > 1) throw new TypeError('give one of bits, weightBits with activationBits, and averageBits, not both or all')
  for (const name of ['bits', 'weightBits', 'activationBits'] as const) {
    const value = options[name]
    if (value === undefined || (Number.isInteger(value) && value >= 2 && value <= WIDEST)) continue
    throw new RangeError(`${name} must be an integer from 2 to 8, not ${value}`)
  }
  if (averageBits === undefined) return
  if (!(averageBits >= 2 && averageBits <= WIDEST)) throw new RangeError(`averageBits must be from 2 to 8, not ${averageBits}`)
  if (preset !== undefined && preset !== 'best' && !PRESETS[preset].includes('greedy-mp')) {
    throw new TypeError(`the preset ${preset} has one width for all operands: averageBits needs best or mptq`)
  }
  if (preset === 'mptq' && averageBits < NARROWEST) {
    throw new RangeError(`averageBits must be from ${NARROWEST} to 8 with the preset mptq, not ${averageBits}`)
  }
}

function checkObjective(options: QuantizeOptions): void {
  const { objective, preset, averageBits, maxDrop } = options
  if (objective !== 'latency') return
  if (!isBest(preset)) throw new TypeError(`the objective 'latency' is an option of the preset best, not of ${preset}`)
  if (!looksForWidths(options)) {
    throw new TypeError(`the objective 'latency' and ${blind(options)}, which does not look at the data for widths, exclude each other`)
  }
  if (averageBits === undefined && maxDrop === undefined) {
    throw new TypeError("the objective 'latency' chooses widths: give averageBits or maxDrop, which say how many bits are left to choose")
  }
}

function checkFloor(options: QuantizeOptions): void {
  const { maxDrop, validate, preset, weightBits, activationBits } = options
  if (maxDrop === undefined) {
    if (validate !== undefined) throw new TypeError('validate is what maxDrop is measured on: give maxDrop, too')
    return
  }
  if (!(maxDrop >= 0 && maxDrop <= 100)) throw new RangeError(`maxDrop must be percentage points from 0 to 100, not ${maxDrop}`)
  if (!isBest(preset)) throw new TypeError(`maxDrop is an option of the preset best, not of ${preset}`)
  if (!looksForWidths(options)) {
    throw new TypeError(`maxDrop and ${blind(options)}, which does not look at the data for widths, exclude each other`)
  }
  if (weightBits !== undefined || activationBits !== undefined) {
    throw new TypeError(
      'maxDrop chooses widths itself: with it, give the least as averageBits or bits, not as weightBits and activationBits',
    )
  }
}

/** With an accuracy floor, where its search starts. */
export const leastOf = ({ averageBits, bits }: QuantizeOptions): number => averageBits ?? bits ?? FLOOR_FROM

/** The widths asked for; with an accuracy floor, those of {@link leastOf}. */
export function widthsOf(options: QuantizeOptions): PublicWidths {
  const { bits, weightBits, activationBits, averageBits, maxDrop } = options
  if (averageBits !== undefined) return { averageBits }
  if (maxDrop !== undefined && bits === undefined) return { averageBits: leastOf(options) }
  return { weightBits: weightBits ?? bits ?? WIDEST, activationBits: activationBits ?? bits ?? WIDEST }
}
