import { loadBatch } from '../images/batch.js'
import { checkDataset, type Dataset, memoryDataset, openDataset } from '../images/dataset.js'
import { subset } from '../images/datasets/subset.js'
import { sampleIndices } from '../images/sample.js'
import type { Calibration } from '../quant/observe.js'
import type { Model } from './model.js'
import type { Images, QuantizeOptions } from './quantize-options.js'

/**
 * Which images calibrate: a seeded draw, and what it left.
 */
export interface Draw {
  /** Where they are from. */
  dataset: Dataset
  drawn: number[]
  /** The next of the same draw, so that more calibration images never leave the others to be different ones by chance. */
  left: number[]
}

const CALIBRATION_IMAGES = 128
/** Images that are left are for measuring accuracy: more of them say little more. */
const MOST_LEFT = 1000
/** Images decoded between two reports of progress. */
const READ_AT_ONCE = 16

export async function drawCalibration({ calibrate, calibrationImages = CALIBRATION_IMAGES, seed = 0 }: QuantizeOptions): Promise<Draw> {
  const dataset = await toDataset(calibrate)
  checkDataset(dataset, 'calibrate')
  const count = Math.min(calibrationImages, dataset.length)
  const indices = sampleIndices(dataset.length, Math.min(count + MOST_LEFT, dataset.length), seed)
  return { dataset, drawn: indices.slice(0, count), left: indices.slice(count) }
}

export async function readCalibration(float: Model, { dataset, drawn }: Draw, options: QuantizeOptions): Promise<Calibration> {
  const { signal, onProgress } = options
  const images = drawn.length
  const { channels, height, width } = float.input
  const perImage = channels * height * width
  const pixels = new Float32Array(images * perImage)
  for (let first = 0; first < images; first += READ_AT_ONCE) {
    const batch = await loadBatch(dataset, drawn.slice(first, first + READ_AT_ONCE), float.parts.preprocessing, { signal })
    pixels.set(batch, first * perImage)
    onProgress?.({ stage: 'read', done: Math.min(images, first + READ_AT_ONCE), total: images })
  }
  return { pixels, images }
}

function toDataset(images: Images): Promise<Dataset> | Dataset {
  if (typeof images === 'string') return openDataset(images, { split: 'train' })
  return Array.isArray(images) ? memoryDataset(images) : images
}

/** The fewest images that were not drawn which say something of accuracy. */
const FEWEST_LEFT = 100

/**
 * What an accuracy floor is measured on: the images asked for, else those that calibration left. Labels that do not fit the model are an
 * error in the former; in the latter, which need none, they are as good as no labels.
 */
export async function validationImages(
  model: Model,
  { dataset, drawn, left }: Draw,
  { validate, calibrate }: QuantizeOptions,
  warn: (message: string) => void,
): Promise<Dataset> {
  if (validate !== undefined) {
    const given = typeof validate === 'string' ? await openDataset(validate, { split: 'test', labels: model.labels }) : toDataset(validate)
    checkDataset(await given, 'validate')
    checkLabels(await given, model)
    return given
  }
  const enough = left.length >= FEWEST_LEFT
  if (!enough) {
    warn(
      `maxDrop is measured on the ${drawn.length} calibration images themselves, which is optimistic: of ${dataset.length} images ${left.length} ` +
        `are left, and ${FEWEST_LEFT} are needed; give more images, or others as validate`,
    )
  }
  return subset(dataset, enough ? left : drawn, await usableLabels(model, dataset, calibrate, warn))
}

/** Labels as the model counts; datasets that were opened without its classes count otherwise. */
async function usableLabels(model: Model, dataset: Dataset, source: Images, warn: (message: string) => void): Promise<Int32Array | null> {
  try {
    const labelled = typeof source === 'string' ? await openDataset(source, { split: 'train', labels: model.labels }) : dataset
    checkLabels(labelled, model)
    return labelled.labels
  } catch (error) {
    const { message } = error as Error
    warn(`labels of the calibration images do not fit the model, so that maxDrop counts every answer that changes: ${message}`)
    return null
  }
}

/** @throws Error for labels that are not one an image, or no classes of the model */
export function checkLabels(dataset: Dataset, model: Pick<Model, 'labels'>): void {
  const { labels, length } = dataset
  if (labels === null) return
  if (labels.length !== length) throw new RangeError(`${dataset.describe()}: there are ${length} images but ${labels.length} labels`)
  const wrong = labels.find((label) => label < 0 || label >= model.labels.length)
  if (wrong !== undefined) {
    throw new Error(`${dataset.describe()} has the label ${wrong}, but the model knows ${model.labels.length} classes`)
  }
}
