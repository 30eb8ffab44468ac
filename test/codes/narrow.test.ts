import { type NarrowUnit, narrow } from '../../lib/codes/narrow.js'
import { uniforms } from '../support/random.js'

/** Errors that add up, and one more for each pair of units: closed forms of a divergence. */
function divergenceOf(weights: Float32Array, coupling: number): (bits: number[]) => number {
  return (bits) => {
    const errors = bits.map((width, u) => weights[u] * 4 ** -width)
    const sum = errors.reduce((a, b) => a + b, 0)
    return sum + coupling * sum ** 2
  }
}

const COUNT = 14
const sizes = uniforms(2, COUNT)
const units: NarrowUnit[] = Array.from({ length: COUNT }, (_, u) => ({
  name: `unit ${u}`,
  kind: u % 2 ? 'weight' : 'activation',
  elements: u === 0 ? 40 : 10 + Math.floor(500 * sizes[u]),
  bits: 8,
  fixed: u === 0,
}))
const average = (bits: number[], kind: string) => {
  const of = (value: (u: number) => number) => units.reduce((sum, unit, u) => sum + (unit.kind === kind ? value(u) : 0), 0)
  return of((u) => bits[u] * units[u].elements) / of((u) => units[u].elements)
}

const widest = units.map(({ bits }) => bits)
const withOne = (unit: number, bits: number) => widest.map((width, u) => (u === unit ? bits : width))

/** The steps by the letter of the definition, everything measured before every step. */
function eager(measure: (bits: number[]) => number, bound: number, least: number): string[] {
  const bits = [...widest]
  const taken: string[] = []
  for (;;) {
    const open = units.map((_, u) => u).filter((u) => u > 0 && bits[u] > least && average(bits, units[u].kind) > bound + 1e-9)
    if (open.length === 0) return taken
    const score = (u: number) => {
      const total = units.reduce((sum, { kind, elements }) => sum + (kind === units[u].kind ? elements : 0), 0)
      return units[u].elements / total / Math.max(1e-6, measure(withOne(u, bits[u] - 1)) - measure(withOne(u, bits[u])))
    }
    const best = open.reduce((a, b) => (score(b) > score(a) ? b : a))
    bits[best]--
    taken.push(`${units[best].name} ${bits[best]}`)
  }
}

describe.each([
  ['additive', 0],
  ['coupled', 0.3],
])('a divergence that is %s', (_, coupling) => {
  const measure = divergenceOf(
    uniforms(9, COUNT).map((x) => 50 * x),
    coupling,
  )
  let calls = 0
  const run = () => {
    const bits = [...widest]
    calls = 0
    return narrow(units, {
      average: 4.5,
      least: 3,
      alone: async (unit, to) => {
        calls++
        return measure(withOne(unit, to))
      },
      together: async (unit, to) => {
        bits[unit] = to
        return measure(bits)
      },
    })
  }

  it('is narrowed by the steps of the definition, and nothing is measured twice', async () => {
    const { bits, trajectory } = await run()
    expect(trajectory.map(({ unit, to }) => `${unit} ${to}`)).toEqual(eager(measure, 4.5, 3))
    expect(calls).toBeLessThanOrEqual(trajectory.length + 2 * COUNT)
    expect(bits[0]).toBe(8)
    expect(Math.min(...bits)).toBeGreaterThanOrEqual(3)
  })

  it('has its steps recorded: costs fall, the averages are met within one step', async () => {
    const { bits, trajectory } = await run()
    const replayed = [...widest]
    let [weight, activation] = [8, 8]
    for (const step of trajectory) {
      const u = units.findIndex(({ name }) => name === step.unit)
      expect([step.from, step.to]).toEqual([replayed[u], replayed[u] - 1])
      // No step is taken in a budget that holds.
      expect(units[u].kind === 'weight' ? weight : activation).toBeGreaterThan(4.5)
      replayed[u]--
      expect(step.divergence).toBeCloseTo(measure(replayed), 12)
      expect(step.weightBits).toBeCloseTo(average(replayed, 'weight'), 12)
      expect(step.activationBits).toBeCloseTo(average(replayed, 'activation'), 12)
      expect(step.weightBits + step.activationBits).toBeLessThan(weight + activation)
      ;[weight, activation] = [step.weightBits, step.activationBits]
    }
    expect(replayed).toEqual(bits)
    expect(weight).toBeLessThanOrEqual(4.5 + 1e-9)
    expect(activation).toBeLessThanOrEqual(4.5 + 1e-9)
  })
})

it('equals: what saves more goes first, then what comes first', async () => {
  const plain = (elements: number[]): NarrowUnit[] =>
    elements.map((n, u) => ({ name: `${u}`, kind: 'weight', elements: n, bits: 8, fixed: false }))
  const order = async (elements: number[]) =>
    (await narrow(plain(elements), { average: 7.5, least: 3, alone: async () => 1, together: async () => 1 })).trajectory[0].unit
  expect(await order([1, 3, 2])).toBe('1')
  expect(await order([2, 2, 2])).toBe('0')
})

it('nothing is measured when the averages hold, and an average out of reach is refused', async () => {
  const measure = async () => {
    throw new Error('measured')
  }
  expect((await narrow(units, { average: 8, least: 3, alone: measure, together: measure })).trajectory).toEqual([])
  await expect(narrow(units, { average: 3, least: 3, alone: measure, together: measure })).rejects.toThrow(
    /an average of 3 bits \(averageBits\) cannot be reached: activations average \d\.\d\d bits at least/,
  )
})
