import type { ReportOptions } from '../report/html.js'
import type { OnnxOptions } from './export-onnx.js'
import type { Model } from './model.js'
import type { QuantizeOptions } from './quantize-options.js'
import type { QuantizationReport } from './report.js'

/**
 * Calls whose code is read when they are made first: it is half of the package, and who runs models needs none of it.
 */

/**
 * Post-training quantization of a vision transformer.
 *
 * @param source a float model, or the folder of a checkpoint
 * @returns a new model; a `Model` that was passed in stays as it is and has to be disposed of by its owner
 * @throws Error for options that are unknown, out of range or exclude each other, an empty calibration set, a model that is quantized
 *   already, values that are not finite, an accuracy floor that not even 8 bits keep, a cache folder that cannot be written to
 */
export async function quantize(source: string | Model, options: QuantizeOptions): Promise<Model> {
  return (await import('./quantize.js')).quantize(source, options)
}

/**
 * A float model as an ONNX file (opset 17) for other runtimes: input `pixels` [batch][channels][height][width], normalised as the
 * checkpoint wants it, output `logits` [batch][classes], any batch.
 *
 * @param source a float model, or the folder of a checkpoint
 * @returns the bytes of the file
 * @throws Error for options that are unknown or do not go together, a model that is quantized, one of more than 2 GiB
 */
export async function exportOnnx(source: string | Model, options: OnnxOptions = {}): Promise<Uint8Array> {
  return (await import('./export-onnx.js')).exportOnnx(source, options)
}

/**
 * @returns the text of an HTML file: summary, accuracy (or divergence) against size, bits and error by layer, how the values of the layers
 *   with the largest errors lie before and after rounding, and a table of all layers. Each plot takes the event loop some ten milliseconds
 * @throws Error when the optional package echarts, which draws, is not installed
 */
export async function reportHtml(report: QuantizationReport, options: ReportOptions = {}): Promise<string> {
  return (await import('../report/html.js')).reportHtml(report, options)
}
