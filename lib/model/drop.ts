import type { Dataset } from '../images/dataset.js'
import { forEachBatch } from './batches.js'
import type { Model, RunOptions } from './model.js'
import { topIndices, wilsonInterval } from './statistics.js'

/** How much worse a model is than another on the same images. */
export interface Drop {
  /** Percentage points: top-1 of the one minus that of the other with labels, else the share of images whose top-1 differs. */
  drop: number
  /** 95 % interval of `drop`, percentage points. */
  interval: [number, number]
  images: number
  labelled: boolean
}

/** Images on which models are compared with one, whose answers are computed once. */
export class Validation {
  private constructor(
    private readonly dataset: Dataset,
    private readonly answers: Int32Array,
    private readonly options: RunOptions,
  ) {}

  static async of(model: Model, dataset: Dataset, options: RunOptions): Promise<Validation> {
    return new Validation(dataset, await answersOf(model, dataset, options), options)
  }

  get images(): number {
    return this.dataset.length
  }

  /** Of the one model, the fraction of right answers; null without labels. */
  get accuracy(): number | null {
    const { labels } = this.dataset
    return labels && this.answers.filter((answer, i) => answer === labels[i]).length / labels.length
  }

  async dropOf(model: Model): Promise<Drop> {
    const answers = await answersOf(model, this.dataset, this.options)
    const { labels } = this.dataset
    return labels ? pairedDrop(this.answers, answers, labels) : changedShare(this.answers, answers)
  }
}

async function answersOf(model: Model, dataset: Dataset, options: RunOptions): Promise<Int32Array> {
  const answers = new Int32Array(dataset.length)
  await forEachBatch(model, dataset, 'validate', options, (logits, index) => {
    answers[index] = topIndices(logits, 1)[0]
  })
  return answers
}

/**
 * With `lost` and `won` the shares of images that only one of both answers right, the drop is lost - won, and the variance of an image lost
 * + won - drop^2.
 */
export function pairedDrop(before: Int32Array, after: Int32Array, labels: Int32Array): Drop {
  const images = labels.length
  let lost = 0
  let won = 0
  for (let i = 0; i < images; i++) {
    if (before[i] === after[i]) continue
    if (before[i] === labels[i]) lost++
    if (after[i] === labels[i]) won++
  }
  const drop = (lost - won) / images
  const half = 1.959964 * Math.sqrt(((lost + won) / images - drop * drop) / images)
  return { drop: 100 * drop, interval: [100 * (drop - half), 100 * (drop + half)], images, labelled: true }
}

export function changedShare(before: Int32Array, after: Int32Array): Drop {
  const images = before.length
  const changed = before.reduce((count, answer, i) => count + Number(answer !== after[i]), 0)
  const [low, high] = wilsonInterval(changed, images)
  return { drop: (100 * changed) / images, interval: [100 * low, 100 * high], images, labelled: false }
}
