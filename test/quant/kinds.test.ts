import type { Unit as Alternatives } from '../../lib/codes/allocate.js'
import type { Unit } from '../../lib/quant/assemble.js'
import { kindsOf, scaleKinds } from '../../lib/quant/kinds.js'

const WIDTHS = [8, 6, 4]
const operand = (kind: string, name: string) => ({ kind, name }) as Unit
const units = [operand('query', 'q0'), operand('query', 'q1'), operand('value', 'v0'), operand('logits', 'fixed')]
const told = (damage: number[]): Alternatives => ({ elements: 10, bits: WIDTHS, damage })
const alternatives = new Map([
  [units[0], told([0.1, 1, 4])],
  [units[1], told([0, 2, 8])],
  [units[2], told([0, 1, 4])],
])
const bits = [6, 4, 6, 8]

/** A model in which queries do three times the damage that is told, and values a tenth; all else does 5. */
const truth: Record<string, number> = { query: 3, value: 0.1 }
function divergence(bits: number[]): number {
  const each = units.map((unit, u) => truth[unit.kind] * (alternatives.get(unit)?.damage[WIDTHS.indexOf(bits[u])] ?? 0) || 0)
  return each.reduce((a, b) => a + b, 5)
}

test('damages become those of a model in which kinds do more or less than is told', async () => {
  const asked: number[][] = []
  const measure = async (bits: number[]) => {
    asked.push(bits)
    return divergence(bits)
  }
  let measured = 0
  const scaled = await scaleKinds(units, bits, alternatives, measure, () => measured++)
  expect(kindsOf(alternatives)).toEqual(['query', 'value'])
  expect(measured).toBe(2)
  for (const [unit, { damage, bits, elements }] of scaled) {
    expect({ bits, elements }).toEqual({ bits: WIDTHS, elements: 10 })
    // To within what is added for noise.
    damage.forEach((each, i) => {
      const expected = truth[unit.kind] * (alternatives.get(unit)?.damage[i] as number)
      if (unit.kind === 'query') expect(each).toBeCloseTo(expected, 1)
      else expect(each).toBeCloseTo((0.125 / 0.1) * expected, 6) // an eighth is the least
    })
  }
  // All at their widest, then one kind after the other at the bits of the first allocation; what has no choice stays.
  expect(asked).toEqual([
    [8, 8, 8, 8],
    [6, 4, 8, 8],
    [8, 8, 6, 8],
  ])
})

test('a difference that few images do not tell changes little, and a gain from rounding counts as none', async () => {
  const small = new Map([[units[0], told([0, 1e-5, 2e-5])]])
  const [[, noisy]] = await scaleKinds(
    units,
    bits,
    small,
    async (bits) => (bits[0] === 8 ? 0 : 2e-4),
    () => {},
  )
  expect(noisy.damage[1] / 1e-5).toBeCloseTo(1.1, 1)
  const [[, better]] = await scaleKinds(
    units,
    bits,
    small,
    async (bits) => (bits[0] === 8 ? 0.1 : 0),
    () => {},
  )
  expect(better.damage[1]).toBeGreaterThan(0)
  expect(better.damage[1]).toBeLessThan(1e-5)
})
