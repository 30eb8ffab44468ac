/** CIFAR-10's binary files: records of a label byte and the red, green and blue planes of 32 x 32 pixels. */
import { basename, join } from 'node:path'
import type { Dataset, DatasetOptions } from '../dataset.js'
import { readWhole } from '../read-file.js'
import { attempt, checkIndex } from './files.js'

const SIDE = 32
const PLANE = SIDE * SIDE
const RECORD = 1 + 3 * PLANE
const CLASSES = 10

export function isCifarBatch(name: string): boolean {
  return /^(data_batch_\d+|test_batch)\.bin$/.test(name)
}

/**
 * Reads whole files into memory, 31 MB for 10,000 images.
 *
 * @param names of the files in `folder`
 * @throws Error when a file is empty or no sequence of records, or the model does not have ten classes
 */
export async function openCifar(names: string[], folder: string, options: DatasetOptions): Promise<Dataset> {
  const { labels: classes } = options
  const files = names.map((name) => join(folder, name))
  if (classes !== undefined && classes.length !== CLASSES) {
    throw new Error(`${files[0]} holds CIFAR-10, which has ${CLASSES} classes, but the model has ${classes.length}`)
  }
  const batches: Uint8Array[] = []
  for (const file of files) batches.push(await readBatch(file))
  const labels = Int32Array.from(batches.flatMap((batch) => Array.from({ length: batch.length / RECORD }, (_, i) => batch[i * RECORD])))
  const wrong = labels.findIndex((label) => label >= CLASSES)

  const locate = (index: number): { batch: number; record: number } => {
    checkIndex(index, labels.length)
    let batch = 0
    let record = index
    for (; record >= batches[batch].length / RECORD; batch++) record -= batches[batch].length / RECORD
    return { batch, record }
  }
  const name = (index: number): string => {
    const { batch, record } = locate(index)
    return `${files[batch]}, image ${record}`
  }
  if (wrong >= 0) throw new Error(`${name(wrong)}: label ${labels[wrong]} is not one of CIFAR-10's 0..9, so this is another format`)

  return {
    length: labels.length,
    labels,
    async load(index) {
      const { batch, record } = locate(index)
      return { data: interleave(batches[batch], record * RECORD + 1), width: SIDE, height: SIDE, channels: 3 }
    },
    name,
    describe: () => `${labels.length} images of ${folder === '' ? '' : `${folder}: `}${files.map((file) => basename(file)).join(', ')}`,
  }
}

async function readBatch(file: string): Promise<Uint8Array> {
  const bytes = await attempt(file, () => readWhole(file))
  if (bytes.length === 0) throw new Error(`${file} is empty (0 bytes)`)
  if (bytes.length % RECORD !== 0) {
    throw new Error(`${file} has ${bytes.length} bytes, which is no multiple of ${RECORD}, the size of a CIFAR-10 image and its label`)
  }
  return bytes
}

function interleave(batch: Uint8Array, start: number): Uint8Array {
  const data = new Uint8Array(3 * PLANE)
  for (let i = 0; i < PLANE; i++) {
    for (let c = 0; c < 3; c++) data[3 * i + c] = batch[start + c * PLANE + i]
  }
  return data
}
