import type { Resample } from '../../lib/images/filters.js'
import type { RawImage } from '../../lib/images/image.js'
import { resize } from '../../lib/images/resize.js'
import { hash, noise } from './pixels.js'

/** SHA-256 of what Pillow 12.3.0 made: Image.fromarray(noise).resize((to width, to height), filter). Columns: from, to, hash. */
const PILLOW: [Resample, number, number, 1 | 3, number, number, string][] = [
  ['nearest', 50, 37, 3, 23, 16, 'e89e34be64b65aa8'],
  ['nearest', 50, 37, 3, 77, 61, 'e40335911085644d'],
  ['nearest', 50, 37, 1, 224, 9, 'ef0662cd91ce0e7a'],
  ['nearest', 31, 64, 3, 31, 20, 'b98f4afbcf6b02dc'],
  ['nearest', 333, 211, 1, 224, 224, '1304141e34cfb4c7'],
  ['lanczos', 50, 37, 3, 23, 16, '65e81ad3c1a4af85'],
  ['lanczos', 50, 37, 3, 77, 61, 'acf5c86614d1ed3b'],
  ['lanczos', 50, 37, 1, 224, 9, '1213741ee9735a3b'],
  ['lanczos', 31, 64, 3, 31, 20, '25be516fe65a22df'],
  ['lanczos', 333, 211, 1, 224, 224, 'f9e525f298777721'],
  ['bilinear', 50, 37, 3, 23, 16, 'a9f663bb9a0a55f0'],
  ['bilinear', 50, 37, 3, 77, 61, '884711c87eaab3ca'],
  ['bilinear', 50, 37, 1, 224, 9, 'ddc26e798eec2371'],
  ['bilinear', 31, 64, 3, 31, 20, '9a973f8ec7000971'],
  ['bilinear', 333, 211, 1, 224, 224, '76f35094aa10f157'],
  ['bicubic', 50, 37, 3, 23, 16, '2c61ca5c52742b06'],
  ['bicubic', 50, 37, 3, 77, 61, 'f05b0df5be4a9e89'],
  ['bicubic', 50, 37, 1, 224, 9, '920badf89429589e'],
  ['bicubic', 31, 64, 3, 31, 20, '81fab231c38cd8e5'],
  ['bicubic', 333, 211, 1, 224, 224, 'aacebbbcd52152dd'],
  ['box', 50, 37, 3, 23, 16, '696120b3deaf82ac'],
  ['box', 50, 37, 3, 77, 61, '64102d7fbf658524'],
  ['box', 50, 37, 1, 224, 9, 'c8a5da89c8f320ea'],
  ['box', 31, 64, 3, 31, 20, '9395b2f554786704'],
  ['box', 333, 211, 1, 224, 224, '35aa422cfda0d640'],
  ['hamming', 50, 37, 3, 23, 16, '998dcdaeea501506'],
  ['hamming', 50, 37, 3, 77, 61, 'c41c2dff77ad0ece'],
  ['hamming', 50, 37, 1, 224, 9, 'b387ff78b688f895'],
  ['hamming', 31, 64, 3, 31, 20, 'fece513bd3893e61'],
  ['hamming', 333, 211, 1, 224, 224, '8ccdb7ad8d085c9b'],
]

/** The filters as their definitions say, in double precision. */
const DEFINITION: Record<Exclude<Resample, 'nearest'>, { support: number; at: (x: number) => number }> = {
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, at: (x) => 1 - Math.abs(x) },
  hamming: { support: 1, at: (x) => sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) },
  bicubic: {
    support: 2,
    at: (x) => (Math.abs(x) < 1 ? 1.5 * Math.abs(x) ** 3 - 2.5 * x ** 2 + 1 : -0.5 * (Math.abs(x) ** 3 - 5 * x ** 2 + 8 * Math.abs(x) - 4)),
  },
  lanczos: { support: 3, at: (x) => sinc(x) * sinc(x / 3) },
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)
}

/** One direction by brute force: every source pixel is weighed by the filter around the output's centre. */
function exactLine(source: number[], to: number, filter: { support: number; at: (x: number) => number }): number[] {
  const scale = source.length / to
  const stretch = Math.max(1, scale)
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale
    let sum = 0
    let total = 0
    source.forEach((value, x) => {
      const distance = (x + 0.5 - centre) / stretch
      if (Math.abs(distance) > filter.support) return
      const weight = filter.at(distance)
      sum += weight * value
      total += weight
    })
    return Math.min(255, Math.max(0, sum / total))
  })
}

function exact(image: RawImage, width: number, height: number, filter: { support: number; at: (x: number) => number }): Float64Array {
  const { channels } = image
  const out = new Float64Array(width * height * channels)
  for (let c = 0; c < channels; c++) {
    const rows = Array.from({ length: image.height }, (_, y) =>
      exactLine(
        Array.from({ length: image.width }, (_, x) => image.data[(y * image.width + x) * channels + c]),
        width,
        filter,
      ),
    )
    for (let x = 0; x < width; x++) {
      const column = exactLine(
        rows.map((row) => row[x]),
        height,
        filter,
      )
      for (let y = 0; y < height; y++) out[(y * width + x) * channels + c] = column[y]
    }
  }
  return out
}

describe('resize', () => {
  test.each(PILLOW)(
    '%s %i x %i x %i to %i x %i gives the bytes of Pillow',
    (resample, width, height, channels, toWidth, toHeight, expected) => {
      const result = resize(noise(width, height, channels), toWidth, toHeight, resample)
      expect([result.width, result.height, result.channels]).toEqual([toWidth, toHeight, channels])
      expect(hash(result)).toBe(expected)
    },
  )

  // Two roundings of half a level, and the first is spread by at most 1.5 by the negative lobes of the second pass.
  test.each([
    ['box', 1],
    ['bilinear', 1],
    ['hamming', 1],
    ['bicubic', 1.25],
    ['lanczos', 1.4],
  ] as const)('%s is within the rounding of its definition', (resample, bound) => {
    for (const [width, height] of [
      [11, 9],
      [60, 50],
      [17, 64],
    ]) {
      const source = noise(29, 23, 3)
      const result = resize(source, width, height, resample).data
      const wanted = exact(source, width, height, DEFINITION[resample])
      const worst = wanted.reduce((most, value, i) => Math.max(most, Math.abs(value - result[i])), 0)
      expect(worst).toBeLessThanOrEqual(bound)
    }
  })

  test('the same size is the same image', () => {
    const image = noise(32, 32, 3)
    for (const resample of ['nearest', 'bilinear', 'bicubic', 'lanczos'] as const) expect(resize(image, 32, 32, resample)).toBe(image)
  })

  test('a flat image stays flat, black and white too', () => {
    for (const level of [0, 1, 127, 254, 255]) {
      const image: RawImage = { data: new Uint8Array(40 * 30 * 3).fill(level), width: 40, height: 30, channels: 3 }
      for (const resample of ['nearest', 'box', 'bilinear', 'hamming', 'bicubic', 'lanczos'] as const) {
        for (const [width, height] of [
          [7, 90],
          [1, 1],
          [120, 3],
        ]) {
          expect(resize(image, width, height, resample).data.every((value) => value === level)).toBe(true)
        }
      }
    }
  })

  test('box halving is the mean of two, rounded up at the half', () => {
    const image: RawImage = { data: Uint8Array.of(10, 21, 0, 255, 7, 7), width: 6, height: 1, channels: 1 }
    expect([...resize(image, 3, 1, 'box').data]).toEqual([16, 128, 7])
  })

  test('one pixel enlarges to all', () => {
    const image: RawImage = { data: Uint8Array.of(9, 8, 7), width: 1, height: 1, channels: 3 }
    expect([...resize(image, 2, 2, 'bicubic').data]).toEqual([9, 8, 7, 9, 8, 7, 9, 8, 7, 9, 8, 7])
  })
})
