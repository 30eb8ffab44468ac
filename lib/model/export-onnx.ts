import { storageOf } from '../graph/operands.js'
import { encodeOnnx } from '../onnx/encode.js'
import { toOnnx } from '../onnx/export.js'
import { dynamicLinear, floatLinear, type LinearForm, qdqLinear, type Range } from '../onnx/products.js'
import { observe } from '../quant/observe.js'
import { findOperands } from '../quant/operands.js'
import { VERSION } from '../runtime/devices.js'
import { chooseThreads } from '../runtime/threads.js'
import { checkOptionsOf, type Known, kindOf } from '../values.js'
import { drawCalibration, readCalibration } from './calibration.js'
import { load } from './load.js'
import type { Model } from './model.js'
import type { Images } from './quantize-options.js'

/**
 * - 'float': float32 throughout
 * - 'int8-dynamic': linear layers on 8 bits, the activations quantized at run time by their extremes
 * - 'int8-qdq': linear layers between QuantizeLinear and DequantizeLinear, the activations by what calibration saw
 */
export type OnnxFormat = 'float' | 'int8-dynamic' | 'int8-qdq'

export const ONNX_FORMATS: readonly OnnxFormat[] = ['float', 'int8-dynamic', 'int8-qdq']

export interface OnnxOptions {
  /** Default: 'float'. */
  format?: OnnxFormat
  /** Images like those that the model will see: for 'int8-qdq', and for that alone. */
  calibrate?: Images
  /** How many of them are drawn; default 128, or all when there are fewer. */
  calibrationImages?: number
  /** Fixes which images are drawn, default 0. */
  seed?: number
  threads?: number
  signal?: AbortSignal
  onProgress?: (progress: { stage: string; done: number; total: number }) => void
}

const KNOWN: Known<OnnxOptions> = {
  ...{ format: true, calibrate: true, calibrationImages: true, seed: true, threads: true, signal: true, onProgress: true },
}

/** See on-demand.ts. */
export async function exportOnnx(source: string | Model, options: OnnxOptions = {}): Promise<Uint8Array> {
  checkOptions(options)
  const { signal } = options
  const model = typeof source === 'string' ? await load(source, { signal }) : source
  if (!model?.parts) throw new TypeError(`exportOnnx takes a checkpoint's folder or a model, not ${kindOf(source)}`)
  if (model.quantized) {
    throw new Error(
      'this model is quantized, and its codes have no form in ONNX: export its float checkpoint, as float, int8-dynamic or int8-qdq',
    )
  }
  const { graph } = model.parts
  const builder = await toOnnx(graph, await linearForm(model, options), signal)
  return encodeOnnx(graph, builder, VERSION)
}

/** @throws TypeError for options that are unknown or do not go together, RangeError for a wrong number of threads */
function checkOptions(options: OnnxOptions): void {
  checkOptionsOf('exportOnnx', options, KNOWN)
  const { format = 'float', calibrate, threads } = options
  if (threads !== undefined) chooseThreads(threads)
  if (!ONNX_FORMATS.includes(format)) {
    throw new TypeError(`format must be ${ONNX_FORMATS.map((each) => `'${each}'`).join(' or ')}, not '${format}'`)
  }
  if (format === 'int8-qdq' && calibrate === undefined) {
    throw new TypeError(
      'int8-qdq needs to know how far activations reach: give calibrate (--calibrate DATA), images that are like those the model will see',
    )
  }
  if (format !== 'int8-qdq' && calibrate !== undefined) {
    throw new TypeError(`calibrate (--calibrate) is for int8-qdq alone, ${format} has no use for it: leave it out`)
  }
}

async function linearForm(model: Model, { format, calibrate, ...options }: OnnxOptions): Promise<LinearForm> {
  if (format === 'int8-dynamic') return dynamicLinear()
  if (format !== 'int8-qdq') return floatLinear
  const ranges = await observedRanges(model, { ...options, calibrate: calibrate as Images })
  const stored = storageOf(model.parts.graph)
  return qdqLinear((edge) => ranges.get(stored(edge).edge) as Range)
}

/** How far the edges that linear layers read reach on calibration images. */
async function observedRanges(model: Model, options: OnnxOptions & { calibrate: Images }): Promise<Map<string, Range>> {
  const { threads, signal, onProgress } = options
  const calibration = await readCalibration(model, await drawCalibration(options), options)
  const { graph } = model.parts
  const inputs = findOperands(graph).activations.filter(({ readers }) => readers.length > 0)
  const { observations } = await observe(graph, inputs, calibration, {
    threads,
    signal,
    onProgress: (done, total) => onProgress?.({ stage: 'observe', done, total }),
  })
  return new Map([...observations].map(([edge, { min, max }]) => [edge, { min: Math.min(...min), max: Math.max(...max) }]))
}
