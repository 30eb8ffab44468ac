import { randomUniform } from '../random.js'
import type { RawImage } from './image.js'

/** `count` images of uniform noise, for timing models whose weights are random too. */
export function noiseImages(size: { channels: number; height: number; width: number }, count: number, seed: number): RawImage[] {
  const { channels, height, width } = size
  const next = randomUniform(seed)
  return Array.from({ length: count }, () => ({
    data: Uint8Array.from({ length: channels * height * width }, () => Math.floor(256 * next())),
    width,
    height,
    channels: channels as RawImage['channels'],
  }))
}
