import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { openSafetensors } from '../../lib/checkpoint/safetensors.js'
import { writeSafetensors } from '../../lib/checkpoint/safetensors-write.js'
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

/**
 * Makes a checkpoint of {@link DIGITS} with its first block alone: it reads no digits any more, and is quantized in a sixth of the time.
 */
export async function writeFirstBlock(folder: string): Promise<void> {
  mkdirSync(folder)
  const config = JSON.parse(readFileSync(join(DIGITS, 'config.json'), 'utf8'))
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, num_hidden_layers: 1 }))
  copyFileSync(join(DIGITS, 'preprocessor_config.json'), join(folder, 'preprocessor_config.json'))
  const file = await openSafetensors(join(DIGITS, 'model.safetensors'))
  const names = file.names().filter((name) => !/\.layer\.[1-9]/.test(name))
  const tensors = await Promise.all(names.map(async (name) => ({ name, dtype: 'F32' as const, ...(await file.tensor(name)) })))
  await file.close()
  await writeSafetensors(join(folder, 'model.safetensors'), tensors)
}
