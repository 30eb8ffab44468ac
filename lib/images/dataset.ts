/** Images with or without labels, by index, from wherever they lie. */
import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { checkOptionsOf, kindOf } from '../values.js'
import { isCifarBatch, openCifar } from './datasets/cifar.js'
import { attempt, fileDataset, isImageFile } from './datasets/files.js'
import { openFolder } from './datasets/folder.js'
import { openTable } from './datasets/table.js'
import type { RawImage, Reserve } from './image.js'

export { memoryDataset } from './datasets/memory.js'

export interface Dataset {
  /** At least 1. */
  readonly length: number
  /** Class of each image, as the model counts; null when there are no labels. */
  readonly labels: Int32Array | null
  /**
   * @param reserve awaited with the number of pixels before an image is decoded, by datasets that decode: bounds memory
   * @throws Error naming the image when it cannot be read or decoded; RangeError when there is no such index
   */
  load(index: number, reserve?: Reserve): Promise<RawImage>
  /** What to call the image in messages: a path, or a place in a file. */
  name(index: number): string
  /** What this is, for messages: "5000 images of test_batch.bin". */
  describe(): string
}

/**
 * Refuses what is no dataset, for datasets that callers made themselves.
 *
 * @param name what to call it in the message
 * @throws TypeError for another object, RangeError for a length that is none
 */
export function checkDataset(dataset: Dataset, name: string): void {
  if (typeof dataset?.load !== 'function') {
    throw new TypeError(`${name} must be a path or a dataset; memoryDataset makes one of a list of images; this is ${kindOf(dataset)}`)
  }
  const { length } = dataset
  if (!Number.isInteger(length) || length < 1)
    throw new RangeError(`${name}: the length of a dataset must be an integer from 1 on, not ${length}`)
}

export interface DatasetOptions {
  /** Which CIFAR-10 batches of a folder: 'train' the data_batch files, 'test' test_batch; left out: all. */
  split?: 'train' | 'test'
  /**
   * The model's classes, index = class: names are looked up in it and labels checked against it. Left out, as for calibration: nothing is
   * checked, and the labels mean nothing.
   */
  labels?: readonly string[]
}

/**
 * Opens a set of images:
 *
 * - a CIFAR-10 binary batch, or a folder of them (data_batch_*.bin, test_batch.bin)
 * - a folder with labels.csv (columns `file` and `label`, by index or name), or that file itself
 * - a folder with a folder for each class: named as the classes, by their index, or in their sorted order
 * - a folder of images, or one image: no labels
 *
 * @throws Error when it cannot be read, is empty, or does not fit the model's classes
 */
export async function openDataset(path: string, options: DatasetOptions = {}): Promise<Dataset> {
  checkOptionsOf('openDataset', options, { split: true, labels: true })
  const found = await attempt(path, () => stat(path))
  if (found.isFile()) return openFile(path, options)
  if (!found.isDirectory()) throw new Error(`${path} is neither a file nor a folder`)
  const names = await attempt(path, () => readdir(path))
  if (names.includes('labels.csv')) return openTable(join(path, 'labels.csv'), path, options)
  const batches = names.filter(isCifarBatch).sort()
  if (batches.length > 0) return openCifar(inSplit(batches, options.split), path, options)
  return openFolder(path, options)
}

function openFile(path: string, options: DatasetOptions): Promise<Dataset> | Dataset {
  if (/\.bin$/i.test(path)) return openCifar([path], '', options)
  if (/\.csv$/i.test(path)) return openTable(path, dirname(path), options)
  if (isImageFile(path)) return fileDataset([path], null, path)
  throw new Error(`${path} is neither an image nor a CIFAR-10 .bin file nor a .csv file`)
}

/** The batches of one kind, or all when the folder holds only the other. */
function inSplit(batches: string[], split: 'train' | 'test' | undefined): string[] {
  const chosen = batches.filter((name) => split === undefined || name.startsWith('test') === (split === 'test'))
  return chosen.length > 0 ? chosen : batches
}
