import { largestShift } from '../../lib/codes/code.js'
import { Histogram } from '../../lib/codes/histogram.js'
import { observationOf } from '../../lib/codes/observation.js'
import { type Family, familyCodes, handRule, optimalRatio, SCALES } from '../../lib/codes/published.js'
import type { Code } from '../../lib/graph/scheme.js'
import { validateCode } from '../../lib/graph/validate-scheme.js'
import { nearestLevel } from '../support/coded-reference.js'
import { normals } from '../support/random.js'

const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
const VALUES = {
  gelu: normals(3, 500).map((x, i) => gelu(1.5 * x - 0.7 + (i % 100 === 0 ? 4 : 0))),
  softmax: normals(4, 500).map((x) => Math.exp(2 * x) / 400),
}
const rangeOf = (values: Float32Array) => ({
  min: values.reduce((a, b) => Math.min(a, b), 0),
  max: values.reduce((a, b) => Math.max(a, b), 0),
})
const squares = (code: Code, values: Float32Array) => values.reduce((sum, x) => sum + (x - nearestLevel(code, x) * code.step) ** 2, 0)
const least = (codes: Code[], values: Float32Array) => Math.min(...codes.map((code) => squares(code, values)))
const WIDTHS = [2, 3, 4, 6, 8]

describe.each(WIDTHS)('the codes of %i bits', (bits) => {
  it.each(['symmetric', 'unsigned', 'softmax', 'gelu'] as Family[])('are valid: %s', (family) => {
    for (const ratio of ['rule', 'searched'] as const) {
      for (const range of [
        { min: -0.17, max: 7 },
        { min: 0, max: 1e-3 },
        { min: 0, max: 0 },
      ]) {
        for (const code of familyCodes(family, bits, range, SCALES, ratio)) validateCode(code, `${family} ${bits}`)
      }
    }
  })

  it('contain the one of minimum and maximum', () => {
    const [range, half] = [{ min: -3, max: 2 }, 2 ** (bits - 1)]
    const steps = (family: Family) => familyCodes(family, bits, range, SCALES, 'rule').map(({ step }) => step)
    expect(steps('symmetric')).toContain(Math.fround(3 / (half - 0.5)))
    expect(steps('unsigned')).toContain(Math.fround(2 / (2 * half - 0.5)))
  })
})

describe.each(WIDTHS.filter((bits) => bits > 2))('at %i bits', (bits) => {
  const range = rangeOf(VALUES.gelu)

  it('the rule for GELU covers the largest value with the smallest ratio', () => {
    for (const code of handRule(bits, range, [1])) {
      const positive = code.levels.filter((level) => level > 0)
      const m = Math.log2(positive[positive.length - 1] / (2 ** (bits - 1) - 1))
      const [top, bottom] = [positive[positive.length - 1] * code.step, code.levels[0] * code.step]
      expect(top).toBeGreaterThanOrEqual(range.max * (1 - 1e-6))
      if (m < largestShift(bits, true)) expect(top / 2).toBeLessThan(range.max)
      expect(bottom).toBeLessThanOrEqual(-0.17 * (1 - 1e-6))
    }
  })

  it('OPT-m is no worse than the rule, and better than a uniform code where a byte has room for a ratio', async () => {
    const [rule, searched] = (['rule', 'searched'] as const).map((ratio) => familyCodes('gelu', bits, range, SCALES, ratio))
    expect(least(searched, VALUES.gelu)).toBeLessThanOrEqual(least(rule, VALUES.gelu))
    expect(least(optimalRatio(bits, range, SCALES), VALUES.gelu)).toBeLessThanOrEqual(
      least(familyCodes('symmetric', bits, range, SCALES, 'rule'), VALUES.gelu) * (bits <= 6 ? 0.8 : 1),
    )
    // The histogram, through which codes are chosen, finds one that is as good; it counts the extremes once more.
    const histogram = await Histogram.of(observationOf(VALUES.gelu, 1), null, () => {})
    const chosen = searched.reduce((a, b) => (histogram.lossOf(b) < histogram.lossOf(a) ? b : a))
    const counted = Float32Array.from([...VALUES.gelu, range.min, range.max])
    expect(squares(chosen, counted)).toBeLessThan(1.02 * least(searched, counted))
  })

  it('two scales for softmax are no worse than one', () => {
    const codes = (family: Family) => familyCodes(family, bits, rangeOf(VALUES.softmax), SCALES, 'rule')
    const [two, one] = [least(codes('softmax'), VALUES.softmax), least(codes('unsigned'), VALUES.softmax)]
    expect(two).toBeLessThanOrEqual(one * (bits <= 6 ? 0.9 : 1))
  })
})
