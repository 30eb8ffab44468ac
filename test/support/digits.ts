import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'

const SIZE = 28
const PIXELS = SIZE * SIZE

export const DIGITS_CHECKPOINT = join(__dirname, '../../assets/vit-digits')

/** Pixels of test digit `index` of class `label` (see demo/data.mjs for the split). */
export function testDigit(label: number, index: number): Uint8Array {
  const { data } = require(`mnist/src/digits/${label}.json`) as { data: number[] }
  const first = Math.floor(0.8 * (data.length / PIXELS)) + index
  return Uint8Array.from(data.slice(first * PIXELS, (first + 1) * PIXELS), (value) => Math.round(255 * value))
}

export async function writeDigit(file: string, label: number, index: number): Promise<void> {
  await sharp(testDigit(label, index), { raw: { width: SIZE, height: SIZE, channels: 1 } }).png().toFile(file)
}

/** A folder with `count` test digits of each class, from test digit `first` on, and labels.csv. */
export async function writeDigits(folder: string, count: number, first = 0): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const lines = ['file,label']
  for (let label = 0; label < 10; label++) {
    for (let i = first; i < first + count; i++) {
      const name = `${label}-${i}.png`
      await writeDigit(join(folder, name), label, i)
      lines.push(`${name},${label}`)
    }
  }
  writeFileSync(join(folder, 'labels.csv'), `${lines.join('\n')}\n`)
}
