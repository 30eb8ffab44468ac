import { allocateGreedy, type Unit } from '../../lib/codes/allocate.js'
import { average, bruteForce, damageOf } from '../support/allocations.js'
import { uniforms } from '../support/random.js'

it('meets the bound, and is near the best of all allocations', () => {
  for (let seed = 0; seed < 20; seed++) {
    const u = uniforms(seed, 15)
    const units: Unit[] = Array.from({ length: 5 }, (_, i) => {
      const scale = 10 ** (3 * u[i])
      return { elements: 100 + Math.round(900 * u[5 + i]), bits: [8, 6, 5, 4, 3], damage: [0, 1, 4, 16, 64].map((d) => d * scale) }
    })
    const bits = allocateGreedy(units, 4.7)
    expect(average(units, bits)).toBeLessThanOrEqual(4.7)
    // One unit of five may stand one step too low: that factor is what the last step of a greedy walk can cost.
    expect(damageOf(units, bits)).toBeLessThanOrEqual(4 * bruteForce(units, 4.7))
  }
})

it('gives the sensitive unit the bits', () => {
  const units: Unit[] = [
    { elements: 10, bits: [8, 4, 2], damage: [0, 1, 2] },
    { elements: 10, bits: [8, 4, 2], damage: [0, 100, 200] },
  ]
  expect(allocateGreedy(units, 5)).toEqual([2, 8])
})

it('skips a width that costs nearly as much as a narrower one', () => {
  const units: Unit[] = [
    { elements: 10, bits: [8, 7, 2], damage: [0, 10, 10.1] },
    { elements: 10, bits: [8, 7, 2], damage: [0, 5, 100] },
  ]
  expect(allocateGreedy(units, 5)).toEqual([2, 8])
})

it('does not let noise below zero look like a gain', () => {
  const units: Unit[] = [
    { elements: 1, bits: [8, 7], damage: [0, -1] },
    { elements: 100, bits: [8, 7], damage: [0, 0] },
  ]
  expect(allocateGreedy(units, 7.5)).toEqual([8, 7])
})

it('says what the least average is when the bound is out of reach', () => {
  expect(() => allocateGreedy([{ elements: 1, bits: [8, 3], damage: [0, 1] }], 2.5)).toThrow('average 3.00 bits')
})
