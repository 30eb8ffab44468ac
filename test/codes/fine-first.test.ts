import { codebook, uniformCode } from '../../lib/codes/code.js'
import { type Lowest, withFineFirst } from '../../lib/codes/fine-first.js'
import { validateCode } from '../../lib/graph/validate-scheme.js'

it.each<[string, number, number, Lowest, number]>([
  ['signed, the first row reaching farther', -3, 5, 'plain', -128],
  ['signed, the others reaching farther', -0.5, 0.25, 'plain', -128],
  ['never negative', 0, 3, 'plain', 0],
  ['never negative, in attention', 0, 3, 'signed', -128],
  ['mostly positive', -0.25, 6, 'any', -12],
])('reaches as far as both rows need: %s', (_, low, high, lowest, first) => {
  const others = low < 0 ? codebook(2, 0.25, [-3, 0, 1, 4]) : codebook(2, 0.25, [0, 1, 2, 4])
  const fine = { ...uniformCode(8, (high - low) / 255, 0), levels: [low, high].map((end) => (255 * end) / (high - low)) }
  const found = withFineFirst(others, fine, lowest)
  validateCode(found, 'code')
  const { step, fineFirst = Number.NaN } = found
  expect(Math.abs(fineFirst - first)).toBeLessThanOrEqual(4 * Number(lowest === 'any'))
  // float32 steps
  const [from, to] = [Math.min(low, -0.75 * Number(low < 0)), Math.max(high, 1)]
  expect(fineFirst * step).toBeLessThanOrEqual(from + 1e-6)
  expect((fineFirst + 255) * step).toBeGreaterThanOrEqual(to - 1e-6)
  // No coarser than it has to be, and the levels of the others no farther off than half a step.
  expect(step).toBeLessThanOrEqual(1.02 * (lowest === 'any' || from === 0 ? (to - from) / 253 : Math.max(to / 127, -from / 128)) * (lowest === 'signed' && from === 0 ? 253 / 127 : 1))
  for (const [i, level] of found.levels.entries()) expect(Math.abs(level * step - others.levels[i] * others.step)).toBeLessThanOrEqual(step / 2 + 1e-6)
})

it('reaches as far as the others where nothing is known of the first row', () => {
  const found = withFineFirst(uniformCode(4, 0.5, -8), null, 'plain')
  expect(found).toEqual({ bits: 4, family: 'codebook', levels: Array.from({ length: 16 }, (_, i) => 16 * (i - 8)), step: 1 / 32, fineFirst: -128 })
})
