import { allocateGreedy, type Unit } from '../../lib/codes/allocate.js'
import { breather } from '../../lib/codes/breathe.js'
import { allocateKnapsack } from '../../lib/codes/knapsack.js'
import { average, bruteForce, damageOf } from '../support/allocations.js'
import { uniforms } from '../support/random.js'

const draw = (seed: number, count: number, elements: (u: number) => number): Unit[] => {
  const u = uniforms(seed, 3 * count)
  return Array.from({ length: count }, (_, i) => {
    const scale = 10 ** (3 * u[i])
    return {
      elements: elements(u[count + i]),
      bits: [8, 6, 5, 4, 3],
      damage: [0, 1, 4, 16, 64].map((d) => d * scale * (1 + u[2 * count + i])),
    }
  })
}

it('finds the best of all allocations', async () => {
  for (let seed = 0; seed < 20; seed++) {
    const units = draw(seed, 6, (u) => 3 * (100 + Math.round(900 * u)))
    for (const bound of [3, 3.3, 4.7, 8]) {
      const bits = await allocateKnapsack(units, bound, breather())
      expect(average(units, bits)).toBeLessThanOrEqual(bound)
      expect(damageOf(units, bits)).toBeCloseTo(bruteForce(units, bound), 9)
    }
  }
})

it('meets the bound where sizes have no common divisor, and is not behind the greedy walk', async () => {
  for (let seed = 0; seed < 5; seed++) {
    const units = draw(seed, 60, (u) => 1_000_003 + 2 * Math.round(4_000_000 * u))
    const bits = await allocateKnapsack(units, 4.6, breather())
    expect(average(units, bits)).toBeLessThanOrEqual(4.6)
    expect(damageOf(units, bits)).toBeLessThanOrEqual(damageOf(units, allocateGreedy(units, 4.6)))
  }
})

it('takes the narrower of two widths that are equally good', async () => {
  expect(await allocateKnapsack([{ elements: 7, bits: [8, 5, 3], damage: [0, 0, 1] }], 8, breather())).toEqual([5])
})

it('does not let noise below zero look like a gain', async () => {
  const units: Unit[] = [
    { elements: 10, bits: [8, 7], damage: [0, -1] },
    { elements: 10, bits: [8, 7], damage: [0, 1] },
  ]
  expect(await allocateKnapsack(units, 7.5, breather())).toEqual([7, 8])
})

it('says what the least average is when the bound is out of reach, and can be aborted', async () => {
  await expect(allocateKnapsack([{ elements: 1, bits: [8, 3], damage: [0, 1] }], 2.5, breather())).rejects.toThrow('average 3.00 bits')
  const units = draw(1, 200, (u) => 1_000_003 + 2 * Math.round(4_000_000 * u))
  const signal = AbortSignal.abort(new Error('enough'))
  await expect(allocateKnapsack(units, 5, breather(signal, 0))).rejects.toThrow('enough')
})
