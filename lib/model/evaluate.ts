import { checkDataset, type Dataset, openDataset } from '../images/dataset.js'
import { checkOptionsOf } from '../values.js'
import { forEachBatch } from './batches.js'
import { checkLabels } from './calibration.js'
import { RUN_OPTIONS } from './known-options.js'
import type { Model, RunOptions } from './model.js'
import { topIndices, wilsonInterval } from './statistics.js'

export interface Evaluation {
  /** Fractions of the images whose label is the first, or among the first five. */
  top1: number
  top5: number
  /** 95 % Wilson interval of top1. */
  interval: [number, number]
  images: number
  msPerImage: number
  /** The first class of each image. */
  predictions: Int32Array
}

export async function evaluate(model: Model, data: string | Dataset, options: RunOptions): Promise<Evaluation> {
  checkOptionsOf('evaluate', options, RUN_OPTIONS)
  const dataset = typeof data === 'string' ? await openDataset(data, { split: 'test', labels: model.labels }) : data
  checkDataset(dataset, 'data')
  const { labels, length: images } = dataset
  if (!labels) throw new Error(`${dataset.describe()} has no labels, and an evaluation needs them`)
  checkLabels(dataset, model)
  const predictions = new Int32Array(images)
  let hits1 = 0
  let hits5 = 0
  const milliseconds = await forEachBatch(model, dataset, 'evaluate', options, (logits, index) => {
    const top = topIndices(logits, 5)
    predictions[index] = top[0]
    if (top[0] === labels[index]) hits1++
    if (top.includes(labels[index])) hits5++
  })
  return {
    top1: hits1 / images,
    top5: hits5 / images,
    interval: wilsonInterval(hits1, images),
    images,
    msPerImage: milliseconds / images,
    predictions,
  }
}
