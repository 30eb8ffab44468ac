import { encodeLevel, largestShift, roundHalfEven, twoScaleCode, uniformCode } from '../../lib/codes/code.js'
import type { Code } from '../../lib/graph/scheme.js'

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
    for (const level of code.levels) expect(encodeLevel(code, level * code.step)).toBe(level)
  })

  it('is monotone and no level is nearer than the one chosen', () => {
    let last = Number.NEGATIVE_INFINITY
    const reach = 1.2 * code.levels[code.levels.length - 1] * code.step
    for (let i = -150; i <= 150; i++) {
      const x = (i / 150) * reach
      const level = encodeLevel(code, x)
      expect(level).toBeGreaterThanOrEqual(last)
      last = level
      const nearest = Math.min(...code.levels.map((l) => Math.abs(l - x / code.step)))
      expect(Math.abs(level - x / code.step)).toBeLessThanOrEqual(nearest + 1e-5)
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
