import { loadBatch } from '../images/batch.js'
import type { Dataset } from '../images/dataset.js'
import type { Model, RunOptions } from './model.js'

/** Images decoded at once: bounds memory, and is enough for every thread. */
const BATCH = 32

/**
 * Runs the model over a dataset in order and hands out the logits of each image.
 *
 * @returns milliseconds spent in the model, without reading and preprocessing
 */
export async function forEachBatch(
  model: Model,
  dataset: Dataset,
  stage: string,
  options: RunOptions,
  visit: (logits: Float32Array, index: number) => void,
): Promise<number> {
  const { signal, threads, onProgress } = options
  let milliseconds = 0
  for (let first = 0; first < dataset.length; first += BATCH) {
    const count = Math.min(BATCH, dataset.length - first)
    const indices = Array.from({ length: count }, (_, i) => first + i)
    const pixels = await loadBatch(dataset, indices, model.parts.preprocessing, { signal })
    const start = performance.now()
    const logits = await model.run(pixels, count, { signal, threads })
    milliseconds += performance.now() - start
    const classes = logits.length / count
    for (let i = 0; i < count; i++) visit(logits.subarray(i * classes, (i + 1) * classes), first + i)
    onProgress?.({ stage, done: first + count, total: dataset.length })
  }
  return milliseconds
}
