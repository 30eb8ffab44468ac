import { largestShift, signSplitCode, twoScaleCode, uniformCode } from '../../lib/codes/code.js'
import { roundHalfEven } from '../../lib/graph/encoder.js'
import type { Code } from '../../lib/graph/scheme.js'
import { nearestLevel } from '../support/coded-reference.js'

const codes: [string, Code][] = []
for (let bits = 2; bits <= 8; bits++) {
  codes.push([`symmetric ${bits}`, uniformCode(bits, 0.37, -(2 ** (bits - 1)))])
  codes.push([`unsigned ${bits}`, uniformCode(bits, 0.37, 0)])
  if (bits < 3) continue
  for (const signed of [false, true]) {
    for (let m = 0; m <= largestShift(bits, signed); m++) {
      codes.push([`two-scale ${bits} m=${m} ${signed ? 'signed' : 'unsigned'}`, twoScaleCode(bits, 0.25, m, signed)])
    }
  }
  for (let m = 0; m <= largestShift(bits, true); m++) codes.push([`sign split ${bits} m=${m}`, signSplitCode(bits, 0.25, m)])
}

describe.each(codes)('%s', (_, code) => {
  const unsigned = code.levels[0] === 0

  it('has 2^k ascending levels, zero among them, that fit a byte', () => {
    expect(code.levels).toHaveLength(2 ** code.bits)
    expect(code.levels).toContain(0)
    expect([...code.levels].sort((a, b) => a - b)).toEqual(code.levels)
    expect(code.levels[0]).toBeGreaterThanOrEqual(unsigned ? 0 : -128)
    expect(code.levels[code.levels.length - 1]).toBeLessThanOrEqual(unsigned ? 255 : 127)
  })

  it('keeps every level', () => {
    for (const level of code.levels) expect(nearestLevel(code, level * code.step)).toBe(level)
  })

  it('is monotone and no level is nearer than the one chosen', () => {
    let last = Number.NEGATIVE_INFINITY
    const reach = 1.2 * code.levels[code.levels.length - 1] * code.step
    for (let i = -150; i <= 150; i++) {
      const x = (i / 150) * reach
      const level = nearestLevel(code, x)
      expect(level).toBeGreaterThanOrEqual(last)
      last = level
      const nearest = Math.min(...code.levels.map((l) => Math.abs(l - x / code.step)))
      expect(Math.abs(level - x / code.step)).toBeLessThanOrEqual(nearest + 1e-5)
    }
  })
})

describe('two scales', () => {
  /** The step of the region in which v lies, and what it reaches. */
  const regions = (code: Code, m: number, split: string) => {
    const half = 2 ** (code.bits - 1)
    const fine = split === 'unsigned' ? [0, half - 1] : split === 'sign' ? [-half, 0] : [-half / 2, half / 2 - 1]
    return [
      { step: 1, from: fine[0], to: fine[1] },
      { step: 2 ** m, from: Math.ceil(fine[1] / 2 ** m) * 2 ** m, to: (half - 1) * 2 ** m },
    ]
  }

  it.each(['unsigned', 'sign', 'magnitude'])('split by %s are wrong by half a step of the region at most', (split) => {
    for (let bits = 3; bits <= 8; bits++) {
      for (let m = 0; m <= largestShift(bits, split !== 'unsigned'); m++) {
        const code = split === 'sign' ? signSplitCode(bits, 1, m) : twoScaleCode(bits, 1, m, split === 'magnitude')
        for (const { step, from, to } of regions(code, m, split)) {
          const values = Array.from({ length: 201 }, (_, i) => Math.fround(from + ((to - from) * i) / 200))
          expect(Math.max(...values.map((v) => Math.abs(nearestLevel(code, v) - v)))).toBeLessThanOrEqual(step / 2)
        }
      }
    }
  })

  // One bit more than the wide code needs is kept, and cut off: a midpoint goes up, as in the kernels.
  it.each(['unsigned', 'magnitude'])('split by %s are a wide uniform code, compressed bit by bit', (split) => {
    for (let bits = 3; bits <= 8; bits++) {
      const half = 2 ** (bits - 1)
      const fine = split === 'unsigned' ? half : half / 2
      for (let m = 1; m <= largestShift(bits, split !== 'unsigned') && 2 ** m <= fine; m++) {
        const code = twoScaleCode(bits, 1, m, split === 'magnitude')
        const lowest = split === 'unsigned' ? 0 : -fine
        const eighths = Array.from({ length: 8 * ((half + 1) * 2 ** m - lowest + 2) }, (_, i) => 8 * (lowest - 2) + i)
        const compressed = eighths.map((eighth) => {
          const wide = Math.floor(eighth / 4)
          const near = (wide + 1) >> 1
          const far = Math.min(half - 1, ((wide >> m) + 1) >> 1) << m
          return near < fine ? Math.max(near, lowest) : far
        })
        expect(eighths.map((eighth) => nearestLevel(code, eighth / 8))).toEqual(compressed)
      }
    }
  })
})

it('largestShift is the last that fits', () => {
  for (let bits = 3; bits <= 8; bits++) {
    for (const [signed, limit] of [
      [false, 255],
      [true, 127],
    ] as const) {
      const top = 2 ** (bits - 1) - 1
      expect(top * 2 ** largestShift(bits, signed)).toBeLessThanOrEqual(limit)
      expect(top * 2 ** (largestShift(bits, signed) + 1)).toBeGreaterThan(limit)
    }
  }
})

it('rounds half to even', () => {
  expect([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49, 2.51].map(roundHalfEven).map((x) => x + 0)).toEqual([-2, -2, 0, 0, 2, 2, 0, 3])
})

it('takes 1 for a step that has no inverse', () => {
  for (const step of [0, 1e-42, Number.POSITIVE_INFINITY]) expect(uniformCode(4, step, 0).step).toBe(1)
  expect(uniformCode(4, 2 ** -127, 0).step).toBe(2 ** -127)
})
