import { prepareWeights } from '../graph/constants.js'
import { lower } from '../graph/lower.js'
import { type LayerReport, measureLayers } from '../quant/layers.js'
import { type Calibration, firstImages } from '../quant/observe.js'
import type { QuantizedGraph } from '../quant/search.js'
import { Session } from '../runtime/session.js'
import { describe, type ModelInfo } from './info.js'
import type { DeviceOptions, ModelParts } from './model.js'
import type { Quantization } from './quantization.js'

export interface MeasuredLayer extends LayerReport {
  /**
   * Wall time an image on all threads, as one of many; null for what has no kernel of its own but is done in that of the layer before it.
   */
  milliseconds: number | null
}

/** What quantization made of a model, layer by layer. `reportHtml` draws it. */
export interface QuantizationReport {
  /** Of the quantized model. */
  info: ModelInfo
  /** Size of the float model's numbers. */
  floatBytes: number
  /** Mean KL divergence to the float model on all calibration images, nats. */
  divergence: number
  /** Wall time an image of all layers on all threads, one of many. */
  msPerImage: number
  /** How many of the calibration images the layers were measured on. */
  images: number
  /** In the order in which they are computed. */
  layers: MeasuredLayer[]
  /**
   * The float model and the quantized one, by divergence; with `maxDrop` all models that were tried, too, and where there are labels by
   * accuracy.
   */
  points: ReportPoint[]
}

/** A model in the plot of accuracy (or divergence) against size. */
export interface ReportPoint {
  name: string
  /** Of its file. */
  bytes: number
  /** Fraction of right answers, 0..1. */
  accuracy?: number
  /** Mean KL divergence to the float model, nats. */
  divergence?: number
}

/** Layers are measured on this many calibration images at most: memory and time grow with them, and each has hundreds of rows of tokens. */
const IMAGES = 16

export interface ReportRunOptions extends DeviceOptions {
  signal?: AbortSignal
  onProgress?: (done: number, total: number) => void
}

/**
 * @param float parts of the float model that was quantized
 * @param points models that were compared on the way; none: the float model and the quantized one
 */
export async function measureReport(
  float: ModelParts,
  quantized: QuantizedGraph & { quantization: Quantization },
  calibration: Calibration,
  points: ReportPoint[],
  options: ReportRunOptions,
): Promise<QuantizationReport> {
  const few = firstImages(calibration, IMAGES)
  const { graph, scheme, divergence, quantization } = quantized
  const layers = await measureLayers(quantized.float, quantized, few, options)
  const { milliseconds, msPerImage } = await timeLayers(quantized, few, options)
  const info = describe({ ...float, graph, scheme, quantization })
  const floatBytes = describe(float).bytes
  const both = [
    { name: 'float', bytes: floatBytes, divergence: 0 },
    { name: 'quantized', bytes: info.bytes, divergence },
  ]
  return {
    info,
    floatBytes,
    divergence,
    msPerImage,
    images: few.images,
    layers: layers.map((layer) => ({ ...layer, milliseconds: milliseconds.get(layer.name) ?? null })),
    points: points.length > 0 ? points : both,
  }
}

/** @returns milliseconds an image, by the name of the node */
async function timeLayers(
  { graph, scheme }: QuantizedGraph,
  { pixels, images }: Calibration,
  { device, threads, isa, signal }: ReportRunOptions,
): Promise<{ milliseconds: Map<string, number>; msPerImage: number }> {
  await prepareWeights(graph, scheme, signal)
  const session = new Session(lower(graph, scheme).plan, { device, path: isa, threads })
  try {
    await session.run(pixels, images, { signal }) // memory and processor as in the middle of work
    const { times } = await session.profile(pixels, images, { signal })
    const milliseconds = new Map<string, number>()
    let msPerImage = 0
    for (const { name, nanoseconds } of times) {
      const ms = nanoseconds / 1e6 / images
      milliseconds.set(name, (milliseconds.get(name) ?? 0) + ms)
      msPerImage += ms
    }
    return { milliseconds, msPerImage }
  } finally {
    session.dispose()
  }
}
