import { resolve } from 'node:path'
import { type Dataset, memoryDataset, type RawImage } from '../../lib/index.js'

/** The float checkpoint that comes with the package. */
export const DIGITS = resolve(__dirname, '../../assets/vit-digits')

const { digitsOf }: { digitsOf(label: number, split: 'train' | 'test', most?: number): RawImage[] } = require('../../demo/data.cjs')

/** The first `perClass` digits of each class, of those that the checkpoint was trained on or of the others. */
export function digits(split: 'train' | 'test', perClass?: number): Dataset {
  const classes = Array.from({ length: 10 }, (_, label) => digitsOf(label, split, perClass))
  return memoryDataset(
    classes.flat(),
    classes.flatMap((images, label) => images.map(() => label)),
  )
}
