import { codebook, uniformCode } from '../../lib/codes/code.js'
import { type Lowest, withFineFirst } from '../../lib/codes/fine-first.js'
import type { Code } from '../../lib/graph/scheme.js'
import { validateCode } from '../../lib/graph/validate-scheme.js'

const reaching = (low: number, high: number): Code => ({ ...codebook(2, 1, [low, 0, 0, high]) })

// What both rows need is from -1 or 0 to 4.
it.each<[string, Lowest, Code, Code, number, number]>([
  ['signed, the first row reaching farther up', 'plain', reaching(-1, 2), reaching(-0.5, 4), -128, 4 / 127],
  ['signed, the other rows reaching farther up', 'plain', reaching(-0.5, 4), reaching(-1, 2), -128, 4 / 127],
  ['signed, farther down', 'plain', reaching(-1, 0), reaching(0, 0.5), -128, 1 / 128],
  ['never negative', 'plain', reaching(0, 3), reaching(0, 4), 0, 4 / 255],
  ['never negative, in attention', 'signed', reaching(0, 3), reaching(0, 4), -128, 4 / 127],
  ['of any zero', 'any', reaching(-1, 3), reaching(-0.5, 4), -52, 5 / 253],
])('takes the finest step that lets a byte reach far enough: %s', (_, lowest, others, fine, first, step) => {
  const found = withFineFirst(others, fine, lowest)
  validateCode(found, 'code')
  expect(found.fineFirst).toBe(first)
  expect(found.step).toBeCloseTo(step, 8)
  for (const [i, level] of found.levels.entries()) expect(Math.abs(level * step - others.levels[i])).toBeLessThanOrEqual(step / 2 + 1e-6)
})

it('reaches as far as the others where nothing is known of the first row', () => {
  const found = withFineFirst(uniformCode(4, 0.5, -8), null, 'plain')
  const levels = Array.from({ length: 16 }, (_, i) => 16 * (i - 8))
  expect(found).toEqual({ bits: 4, family: 'codebook', levels, step: 1 / 32, fineFirst: -128 })
})

it('gives 8 bits no fine row, but lets them reach as far', () => {
  const found = withFineFirst(uniformCode(8, 1 / 128, -128), reaching(-1, 4), 'plain')
  expect(found).toEqual(uniformCode(8, 4 / 127, -128))
})

it('has a step where there is nothing to code', () => {
  expect(withFineFirst(reaching(0, 0), null, 'plain')).toMatchObject({ step: 1, levels: [0, 0, 0, 0], fineFirst: 0 })
})
