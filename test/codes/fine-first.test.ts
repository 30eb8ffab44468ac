import { codebook, regionsCode, uniformCode } from '../../lib/codes/code.js'
import { withFineFirst } from '../../lib/codes/fine-first.js'

it.each([
  ['signed uniform levels', uniformCode(4, 0.5, -8), 255, false, [-128, 112]],
  ['unsigned ones', uniformCode(3, 0.1, 0), 255, false, [0, 224]],
  ['unsigned ones for attention', uniformCode(3, 0.1, 0), 127, false, [0, 112]],
  ['levels around any zero', uniformCode(4, 0.1, -2), 255, true, [-32, 208]],
  ['levels that the byte of a product cannot hold any farther', uniformCode(4, 0.1, -2), 255, false, [-16, 104]],
  ['regions', regionsCode(3, 0.25, [2, 0, 0, 1], -11), 255, false, [-88, 24]],
])('spreads %s over the byte', (_, code, highest, anyZero, [low, high]) => {
  const fine = withFineFirst(code, highest, anyZero)
  expect(fine.fineFirst).toBe(true)
  expect(fine.family).not.toBe('uniform')
  expect([fine.levels[0], fine.levels[fine.levels.length - 1]]).toEqual([low, high])
  expect(fine.levels.map((level) => level * fine.step)).toEqual(code.levels.map((level) => level * code.step))
})

it('keeps a codebook that fills the byte', () => {
  const code = codebook(2, 0.5, [-128, -3, 0, 100])
  expect(withFineFirst(code, 255, false)).toEqual({ ...code, fineFirst: true })
})

it('leaves codes alone between whose levels nothing fits', () => {
  const code = uniformCode(8, 0.1, -128)
  expect(withFineFirst(code, 255, false)).toBe(code)
  expect(withFineFirst(uniformCode(7, 0.1, -100), 255, false).fineFirst).toBeUndefined()
})
