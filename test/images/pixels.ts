import { createHash } from 'node:crypto'
import type { RawImage } from '../../lib/images/image.js'

/** Reaching a global through an object is slow in the contexts that jest runs code in. */
const { imul } = Math

/** Bytes that look like noise; test/images/resize.test.ts compares with what Pillow makes of the same ones. */
export function noise(width: number, height: number, channels: 1 | 3): RawImage {
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => {
    let h = imul(i, 0x9e3779b1)
    h = imul(h ^ (h >>> 16), 0x85ebca6b)
    h = imul(h ^ (h >>> 13), 0xc2b2ae35)
    return (h ^ (h >>> 16)) >>> 24
  })
  return { data, width, height, channels }
}

/** Smooth: neighbours differ little, so that JPEG keeps it. */
export function gradient(width: number, height: number): RawImage {
  const data = new Uint8Array(width * height * 3)
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i += 3) {
      data[i] = Math.round((255 * x) / Math.max(1, width - 1))
      data[i + 1] = Math.round((255 * y) / Math.max(1, height - 1))
      data[i + 2] = 128
    }
  }
  return { data, width, height, channels: 3 }
}

/** First 16 hexadecimal digits of the SHA-256 of the pixels. */
export function hash({ data }: RawImage): string {
  return createHash('sha256').update(data).digest('hex').slice(0, 16)
}
