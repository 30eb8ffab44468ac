import type { Graph } from '../graph/graph.js'
import type { Dataset } from '../images/dataset.js'
import { estimateSeconds, measureSpeed } from '../quant/estimate.js'
import { mostMeasurements } from '../quant/floor.js'
import { type Latency, measureLatency, worthwhileWidths } from '../quant/latency.js'
import type { Calibration } from '../quant/observe.js'
import { EXTRAS } from '../quant/parts.js'
import { checkAverage } from '../quant/published/mixed.js'
import {
  type Allocation,
  leftOut,
  type PublicWidths,
  type QuantizedModel,
  type Quantizer,
  type QuantizerOptions,
  quantizerOf,
} from '../quant/quantizer.js'
import { type DamageStore, widthsTried } from '../quant/search.js'
import { chooseThreads } from '../runtime/threads.js'
import { kindOf } from '../values.js'
import { adviceLines } from './advice.js'
import { Cache, type CachedGraph } from './cache.js'
import { type Draw, drawCalibration, readCalibration, validationImages } from './calibration.js'
import { Validation } from './drop.js'
import { type FloorReached, keepAccuracy } from './floor.js'
import { load } from './load.js'
import { Model, type ModelParts } from './model.js'
import type { Quantization } from './quantization.js'
import { checkOptions, leastOf, looksForWidths, type QuantizeOptions, widthsOf } from './quantize-options.js'
import { measureReport, type ReportPoint } from './report.js'
import { calibrationWarnings, modelWarnings } from './warnings.js'

/** See on-demand.ts. */
export async function quantize(source: string | Model, options: QuantizeOptions): Promise<Model> {
  checkOptions(options ?? {})
  if (options.cache !== undefined) await Cache.check(options.cache)
  const { signal, device, threads, isa } = options
  const float = typeof source === 'string' ? await load(source, { signal }) : source
  // No instanceof: the model may come from the package's other build.
  if (!float?.parts) throw new TypeError(`quantize takes a checkpoint's folder or a model, not ${kindOf(source)}`)
  const name = typeof source === 'string' ? source : 'this model'
  if (float.quantized) throw new Error(`${name} is quantized already: start from its float checkpoint`)
  checkReachable(float.parts.graph, options)
  const draw = await drawCalibration(options)
  const calibration = await readCalibration(float, draw, options)
  const model = new Model(await new Job(float, draw, calibration, options).run(), { device, threads, isa })
  if (options.onWarning) for (const line of adviceLines(await model.advice())) options.onWarning(line)
  return model
}

/** Before anything is read. */
function checkReachable(graph: Graph, { preset, coverage = 'full', averageBits }: QuantizeOptions): void {
  if (preset === 'mptq' && averageBits !== undefined) checkAverage(graph, coverage, averageBits)
}

/** A graph and the widths that were asked of it. */
interface Made {
  widths: PublicWidths
  graph: QuantizedModel | CachedGraph
}

type StageProgress = Parameters<NonNullable<QuantizeOptions['onProgress']>>[0]

/** Stages that come for every model that an accuracy floor tries. */
const EACH_MODEL = new Set<string>(['measure', 'quantize'])

/** The progress of a stage in one of several rounds as that of a stage that never starts again. */
const asOne = ({ stage, done, total }: StageProgress, round: number, rounds: number): StageProgress => ({
  stage,
  done: round * total + done,
  total: rounds * total,
})

/** One call of {@link quantize}, all that it needs at hand. */
class Job {
  private readonly warnings: string[] = []
  private readonly settings: Pick<QuantizerOptions, 'preset' | 'coverage'> & { allocation: Allocation; without: ReturnType<typeof leftOut> }
  private readonly running: { threads?: number; signal?: AbortSignal }
  /** Of the objective 'latency'. */
  private latency: Latency | null = null
  /** How many models were begun: one, or with an accuracy floor one after the other. */
  private begun = 0
  /** With an accuracy floor, the float model and those that were tried. */
  private readonly points: ReportPoint[] = []

  constructor(
    private readonly float: Model,
    private readonly draw: Draw,
    private readonly calibration: Calibration,
    private readonly options: QuantizeOptions,
  ) {
    const { preset = 'best', coverage = 'full', allocation = 'knapsack', threads, signal } = options
    const unasked = preset === 'best' ? EXTRAS.filter((part) => !options.with?.includes(part)) : []
    const without = leftOut({ preset, allocation, without: [...unasked, ...(options.without ?? [])] })
    this.settings = { preset, coverage, allocation, without }
    // Known once: to find the default reads files.
    this.running = { threads: chooseThreads(threads), signal }
  }

  async run(): Promise<ModelParts> {
    const { parts } = this.float
    const { graph } = parts
    for (const warning of await modelWarnings(graph, this.settings.coverage, this.calibration, this.running)) this.warn(warning)
    if (this.options.objective === 'latency') this.latency = await this.measureLatency()
    const cache = await this.openCache()
    const store = await cache?.damages()
    const images = this.options.maxDrop === undefined ? null : await this.validationImages()
    const { onReport } = this.options
    // A report needs the float weights as the search changed them, which the cache does not keep.
    if (onReport || !(await cache?.has(this.among(widthsOf(this.options))))) await this.estimate(images)
    const quantizer = this.quantizer(store)
    try {
      const { made, floor } = await this.choose(cache ? cache.around(quantizer) : quantizer, images)
      for (const warning of calibrationWarnings(this.draw, made.graph)) this.warn(warning)
      const { divergence, spread, trajectory } = made.graph
      const { preset, without } = this.settings
      const quantization: Quantization = { preset, without, divergence, spread, floor, trajectory, warnings: this.warnings }
      await this.report(made, quantization, quantizer)
      return { ...parts, graph: made.graph.graph, scheme: made.graph.scheme, quantization }
    } finally {
      await store?.flush()
    }
  }

  private warn(message: string): void {
    this.warnings.push(message)
    this.options.onWarning?.(message)
  }

  private async measureLatency(): Promise<Latency> {
    const { isa, onProgress, onLatency } = this.options
    const progress = (done: number, total: number) => onProgress?.({ stage: 'latency', done, total })
    const latency = await measureLatency(this.float.parts.graph, { ...this.running, isa, onProgress: progress })
    onLatency?.(latency)
    return latency
  }

  /** With the objective 'latency', widths that are searched are among those that are worth their time. */
  private among(widths: PublicWidths): PublicWidths {
    if (this.latency === null || !('averageBits' in widths)) return widths
    const tried = widthsTried(widths.averageBits)
    const among = this.latency.layers.map(({ weight, milliseconds }) => [weight, worthwhileWidths(tried, milliseconds)] as const)
    return { ...widths, among: Object.fromEntries(among) }
  }

  private async openCache(): Promise<Cache | null> {
    const { cache, signal } = this.options
    if (cache === undefined) return null
    return Cache.open(cache, this.float.parts, this.calibration, this.settings, (message) => this.warn(message), signal)
  }

  private validationImages(): Promise<Dataset> {
    return validationImages(this.float, this.draw, this.options, (message) => this.warn(message))
  }

  private quantizer(store: DamageStore | undefined): Quantizer {
    const onProgress = (event: StageProgress) =>
      this.tell(EACH_MODEL.has(event.stage) ? asOne(event, Math.max(this.begun - 1, 0), this.mostQuantizations()) : event)
    return quantizerOf(this.float.parts.graph, this.calibration, { ...this.settings, ...this.running, store, onProgress })
  }

  private tell(event: StageProgress): void {
    this.options.onProgress?.(event)
  }

  /** So often may codes be found: for every model that a floor tries, and for the report where the cache has the model. */
  private mostQuantizations(): number {
    const { maxDrop, cache, onReport } = this.options
    return maxDrop === undefined ? 1 : mostMeasurements(leastOf(this.options)) + (cache !== undefined && onReport ? 1 : 0)
  }

  private async estimate(validation: Dataset | null): Promise<void> {
    const { onEstimate } = this.options
    if (!onEstimate) return
    const { preset, coverage, without } = this.settings
    const { graph } = this.float.parts
    const work = {
      ...{ preset, coverage, without: new Set(without), images: this.calibration.images, validated: validation?.length ?? 0 },
      widths: looksForWidths(this.options) && (validation !== null || 'averageBits' in widthsOf(this.options)),
      quantizations: validation ? mostMeasurements(leastOf(this.options)) : 1,
    }
    onEstimate(estimateSeconds(graph, work, await measureSpeed(graph, this.calibration, this.running)))
  }

  /** @param validation null: without an accuracy floor */
  private async choose(
    quantizer: (widths: PublicWidths) => Promise<Made['graph']>,
    validation: Dataset | null,
  ): Promise<{ made: Made; floor: FloorReached | null }> {
    const at = async (asked: PublicWidths) => {
      this.begun++
      const widths = this.among(asked)
      return { widths, graph: await quantizer(widths) }
    }
    if (validation === null) return { made: await at(widthsOf(this.options)), floor: null }
    const { maxDrop = 0 } = this.options
    const least = leastOf(this.options)
    const compared = await Validation.of(this.float, validation, {
      ...this.running,
      // The float model's answers come first.
      onProgress: ({ done, total }) => this.tell(asOne({ stage: 'validate', done, total }, this.begun, 1 + mostMeasurements(least))),
    })
    const { accuracy } = compared
    const measured = (drop: number) => (accuracy === null ? {} : { accuracy: accuracy - drop / 100 })
    this.points.push({ name: 'float', bytes: this.float.info().bytes, divergence: 0, ...measured(0) })
    return keepAccuracy(
      least,
      maxDrop,
      this.settings.coverage,
      (averageBits) => at(averageBits === least ? widthsOf(this.options) : { averageBits }),
      async ({ graph: { graph, scheme, divergence } }, averageBits) => {
        const model = new Model({ ...this.float.parts, graph, scheme })
        try {
          const drop = await compared.dropOf(model)
          this.points.push({ name: `${averageBits} bits`, bytes: model.info().bytes, divergence, ...measured(drop.drop) })
          return drop
        } finally {
          model.dispose()
        }
      },
    )
  }

  private async report({ widths, graph }: Made, quantization: Quantization, quantizer: Quantizer): Promise<void> {
    const { onReport, onProgress, device, isa } = this.options
    if (!onReport) return
    this.begun = this.mostQuantizations()
    // What the cache keeps lacks the float weights to compare with.
    const quantized = 'float' in graph ? graph : await quantizer(widths)
    const progress = (done: number, total: number) => onProgress?.({ stage: 'report', done, total })
    const options = { ...this.running, device, isa, onProgress: progress }
    await onReport(await measureReport(this.float.parts, { ...quantized, quantization }, this.calibration, this.points, options))
  }
}
