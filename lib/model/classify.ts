import { memoryDataset } from '../images/dataset.js'
import type { ImageInput } from '../images/image.js'
import { checkOptionsOf, type Known } from '../values.js'
import { forEachBatch } from './batches.js'
import { RUN_OPTIONS } from './known-options.js'
import type { Model, RunOptions } from './model.js'
import { softmax, topIndices } from './statistics.js'

export interface ClassifyOptions extends RunOptions {
  /** 1..classes, default 5. */
  top?: number
}

const KNOWN: Known<ClassifyOptions> = { ...RUN_OPTIONS, top: true }

export interface Classification {
  label: string
  index: number
  /** Softmax of the logits. */
  probability: number
}

export async function classify(model: Model, images: ImageInput[], options: ClassifyOptions): Promise<Classification[][]> {
  checkOptionsOf('classify', options, KNOWN)
  const { top = 5 } = options
  if (!Number.isInteger(top) || top < 1) throw new RangeError(`top must be a positive integer, not ${top}`)
  const results: Classification[][] = []
  await forEachBatch(model, memoryDataset(images), 'classify', options, (logits) => {
    const probabilities = softmax(logits)
    results.push(
      topIndices(logits, Math.min(top, logits.length)).map((index) => ({
        label: model.labels[index],
        index,
        probability: probabilities[index],
      })),
    )
  })
  return results
}
