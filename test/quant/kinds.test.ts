import type { Unit as Alternatives } from '../../lib/codes/allocate.js'
import type { Unit } from '../../lib/quant/assemble.js'
import { kindsOf, scaleKinds } from '../../lib/quant/kinds.js'

const WIDTHS = [8, 6, 4]
const operand = (kind: string, name: string) => ({ kind, name }) as Unit
const units = [operand('query', 'q0'), operand('query', 'q1'), operand('value', 'v0'), operand('weight', 'w')]
const told = (damage: number[]): Alternatives => ({ elements: 10, bits: WIDTHS, damage })
const alternatives = new Map([
  [units[0], told([0.1, 1.1, 4])],
  [units[1], told([0, 2, 8])],
  [units[2], told([0, 9, 20])],
])
/** Queries add 1 + 8 to the damage at the widest, and values 9. */
const bits = [6, 4, 6, 5]

/** The distance of a model in which each kind does so many times the damage that is told; all else does 5. */
const model =
  (truth: Record<string, number>) =>
  async (bits: number[]): Promise<number> => {
    const damages = units.map((unit, u) => (truth[unit.kind] ?? 0) * (alternatives.get(unit)?.damage[WIDTHS.indexOf(bits[u])] ?? 0))
    return damages.reduce((a, b) => a + b, 5)
  }

async function scales(distance: (bits: number[]) => Promise<number>): Promise<number[]> {
  const scaled = await scaleKinds(units, bits, alternatives, distance, () => {})
  return [...alternatives].map(([unit, { damage, elements }]) => {
    const found = scaled.get(unit) as Alternatives
    expect(found).toMatchObject({ bits: WIDTHS, elements })
    const factors = damage.map((each, i) => found.damage[i] / each).filter(Number.isFinite)
    for (const factor of factors) expect(factor).toBeCloseTo(factors[0], 12)
    return factors[0]
  })
}

test('where damages are as told, in whatever unit, they stay', async () => {
  for (const unit of [1, 700]) for (const scale of await scales(model({ query: unit, value: unit }))) expect(scale).toBeCloseTo(1, 12)
})

test('a kind that does three times as much beside another gets nearly that, both queries alike', async () => {
  const [q0, q1, v0] = await scales(model({ query: 6, value: 2 }))
  expect(q1).toBe(q0)
  // Three quarters and a quarter of the whole, where halves were told; a twentieth is noise.
  expect(q0 / v0).toBeCloseTo((0.75 + 0.05) / (0.25 + 0.05), 9)
})

test('a kind whose rounding seems to help, or a model that rounding does nothing to', async () => {
  const [, , value] = await scales(model({ query: 1, value: -1 }))
  expect(value).toBeCloseTo(0.05 / 0.55, 9)
  for (const scale of await scales(async () => 5)) expect(scale).toBeCloseTo(0.05 / 0.55, 9)
})

test('each kind is measured once, by itself, the others at their widest and what has no choice as it is', async () => {
  const asked: number[][] = []
  let measured = 0
  const distance = async (bits: number[]) => asked.push(bits)
  await scaleKinds(units, bits, alternatives, distance, () => measured++)
  expect(kindsOf([...alternatives.keys()])).toEqual(['query', 'value'])
  expect(measured).toBe(2)
  expect(asked).toEqual([
    [8, 8, 8, 5],
    [6, 4, 8, 5],
    [8, 8, 6, 5],
  ])
})
