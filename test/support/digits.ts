import { resolve } from 'node:path'
import { type Dataset, memoryDataset, type RawImage } from '../../lib/index.js'

/** The float checkpoint that comes with the package. */
export const DIGITS = resolve(__dirname, '../../assets/vit-digits')

/** Of each class the first 80 % were trained on; the rest are the test set. */
export function digits(split: 'train' | 'test', perClass = Number.POSITIVE_INFINITY): Dataset {
  const images: RawImage[] = []
  const labels: number[] = []
  for (let label = 0; label < 10; label++) {
    const values: number[] = require(`mnist/src/digits/${label}.json`).data
    const count = values.length / 784
    const first = split === 'train' ? 0 : Math.floor(0.8 * count)
    const last = Math.min(split === 'train' ? Math.floor(0.8 * count) : count, first + perClass)
    for (let i = first; i < last; i++) {
      const data = Uint8Array.from(values.slice(784 * i, 784 * (i + 1)), (v) => Math.round(255 * v))
      images.push({ data, width: 28, height: 28, channels: 1 })
      labels.push(label)
    }
  }
  return memoryDataset(images, labels)
}
