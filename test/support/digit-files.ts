import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { digits } from './digits.js'

/** Writes the first digit of a class as a file. */
export async function writeDigit(file: string, label: number): Promise<void> {
  const { data, width, height, channels } = await digits('test', 1).load(label)
  await sharp(data, { raw: { width, height, channels } }).png().toFile(file)
}

/** A folder with `perClass` digits of each class and labels.csv; files are called by class and number: 7-0.png. */
export async function writeDigits(folder: string, split: 'train' | 'test', perClass: number): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const set = digits(split, perClass)
  const lines = ['file,label']
  for (let i = 0; i < set.length; i++) {
    const label = set.labels?.[i] as number
    const name = `${label}-${i % perClass}.png`
    const { data, width, height, channels } = await set.load(i)
    await sharp(data, { raw: { width, height, channels } }).png().toFile(join(folder, name))
    lines.push(`${name},${label}`)
  }
  writeFileSync(join(folder, 'labels.csv'), `${lines.join('\n')}\n`)
}
