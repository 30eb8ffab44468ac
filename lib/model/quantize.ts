import { loadBatch } from '../images/batch.js'
import { checkDataset, type Dataset, memoryDataset, openDataset } from '../images/dataset.js'
import type { ImageInput } from '../images/image.js'
import { sampleIndices } from '../images/sample.js'
import type { Calibration } from '../quant/observe.js'
import { type Progress, quantizeGraph } from '../quant/quantize.js'
import { checkSeed } from '../random.js'
import { kindOf } from '../values.js'
import { checkDevice } from './device.js'
import { load } from './load.js'
import { type DeviceOptions, Model } from './model.js'
import { measureReport, type QuantizationReport } from './report.js'

export interface QuantizeOptions extends DeviceOptions {
  /** A path that `openDataset` understands, a dataset, or images. Labels are not used. */
  calibrate: string | Dataset | ImageInput[]
  /** The width of every weight and of every activation of a matrix product, 2..8; patch embedding and head keep at least 8. Default: 8. */
  bits?: number
  /** Instead of `bits`: bounds the average of weights and, separately, that of activations, 2..8; the widths are searched. */
  averageBits?: number
  /** See {@link QuantizeGraphOptions.coverage}. */
  coverage?: 'partial' | 'full'
  /** See {@link QuantizeGraphOptions.allocation}. */
  allocation?: 'greedy' | 'even'
  /** How many images are drawn; default 128, or all when there are fewer. */
  calibrationImages?: number
  /** Fixes which images are drawn, default 0. */
  seed?: number
  signal?: AbortSignal
  /**
   * Asks for a report of all layers, and gets it before the promise settles. It is made here and nowhere else, because a quantized model does not keep the
   * float weights, which smoothing and rotation have changed, that it has to be compared with.
   */
  onReport?: (report: QuantizationReport) => void | Promise<void>
  onProgress?: (progress: { stage: 'read' | Progress['stage'] | 'report'; done: number; total: number }) => void
}

const CALIBRATION_IMAGES = 128
/** Images decoded between two reports of progress. */
const READ_AT_ONCE = 16

/**
 * Post-training quantization of a vision transformer.
 *
 * @param source a float model, or the folder of a checkpoint
 * @returns a new model; a `Model` that was passed in stays as it is and has to be disposed of by its owner
 * @throws Error for bits outside 2..8, an empty calibration set, a model that is quantized already, values that are not finite
 */
export async function quantize(source: string | Model, options: QuantizeOptions): Promise<Model> {
  checkOptions(options ?? {})
  const { signal, device, threads, isa } = options
  const float = typeof source === 'string' ? await load(source, { signal }) : source
  // No instanceof: the model may come from the package's other build.
  if (!float?.parts) throw new TypeError(`quantize takes a checkpoint's folder or a model, not ${kindOf(source)}`)
  if (float.quantized) throw new Error('this model is quantized already: start from its float checkpoint')
  const calibration = await readCalibration(float, options)
  const bits = options.bits ?? (options.averageBits === undefined ? 8 : undefined)
  const quantized = await quantizeGraph(float.parts.graph, calibration, {
    bits,
    averageBits: options.averageBits,
    allocation: options.allocation,
    coverage: options.coverage,
    threads,
    signal,
    onProgress: options.onProgress,
  })
  if (options.onReport) {
    const onProgress = (done: number, total: number) => options.onProgress?.({ stage: 'report', done, total })
    await options.onReport(await measureReport(float.parts, quantized, calibration, { device, threads, isa, signal, onProgress }))
  }
  const { graph, scheme } = quantized
  return new Model({ ...float.parts, graph, scheme }, { device, threads, isa })
}

function checkOptions(options: QuantizeOptions): void {
  const { bits, averageBits, allocation, calibrationImages, seed } = options
  checkDevice(options)
  if (options.calibrate === undefined) throw new TypeError('calibrate is required: images that are like those the model will see')
  if (bits !== undefined && averageBits !== undefined) throw new TypeError('give either bits or averageBits, not both')
  if (bits !== undefined && !(Number.isInteger(bits) && bits >= 2 && bits <= 8)) {
    throw new RangeError(`bits must be an integer from 2 to 8, not ${bits}`)
  }
  if (averageBits !== undefined && !(averageBits >= 2 && averageBits <= 8)) {
    throw new RangeError(`averageBits must be from 2 to 8, not ${averageBits}`)
  }
  if (allocation !== undefined && allocation !== 'greedy' && allocation !== 'even') {
    throw new TypeError(`allocation must be 'greedy' or 'even', not '${allocation}'`)
  }
  if (calibrationImages !== undefined && !(Number.isInteger(calibrationImages) && calibrationImages >= 1)) {
    throw new RangeError(`calibrationImages must be a positive integer, not ${calibrationImages}`)
  }
  if (seed !== undefined) checkSeed(seed)
}

async function readCalibration(float: Model, options: QuantizeOptions): Promise<Calibration> {
  const { calibrate, calibrationImages = CALIBRATION_IMAGES, seed = 0, signal, onProgress } = options
  const dataset = await toDataset(calibrate)
  checkDataset(dataset, 'calibrate')
  const images = Math.min(calibrationImages, dataset.length)
  const indices = sampleIndices(dataset.length, images, seed)
  const { channels, height, width } = float.input
  const perImage = channels * height * width
  const pixels = new Float32Array(images * perImage)
  for (let first = 0; first < images; first += READ_AT_ONCE) {
    const batch = await loadBatch(dataset, indices.slice(first, first + READ_AT_ONCE), float.parts.preprocessing, { signal })
    pixels.set(batch, first * perImage)
    onProgress?.({ stage: 'read', done: Math.min(images, first + READ_AT_ONCE), total: images })
  }
  return { pixels, images }
}

function toDataset(calibrate: QuantizeOptions['calibrate']): Promise<Dataset> | Dataset {
  if (typeof calibrate === 'string') return openDataset(calibrate, { split: 'train' })
  return Array.isArray(calibrate) ? memoryDataset(calibrate) : calibrate
}
