import { ALIGNMENT, type Lifetime, planArena } from '../../lib/graph/arena.js'
import { uniforms } from '../support/random.js'

function randomLifetimes(seed: number, count: number): Lifetime[] {
  const u = uniforms(seed, 3 * count)
  return Array.from({ length: count }, (_, i) => {
    const first = Math.floor(u[3 * i] * 40)
    return { first, last: first + Math.floor(u[3 * i + 1] ** 3 * 30), bytes: 1 + Math.floor(u[3 * i + 2] ** 2 * 5000) }
  })
}

it('never lets two live buffers overlap', () => {
  for (let seed = 1; seed <= 100; seed++) {
    const buffers = randomLifetimes(seed, 60)
    const { offsets, bytes } = planArena(buffers)
    buffers.forEach((a, i) => {
      expect(offsets[i] % ALIGNMENT).toBe(0)
      expect(offsets[i] + a.bytes).toBeLessThanOrEqual(bytes)
      for (let j = 0; j < i; j++) {
        const b = buffers[j]
        const together = a.first <= b.last && b.first <= a.last
        const apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i]
        if (together && !apart) throw new Error(`seed ${seed}: buffers ${i} and ${j} overlap`)
      }
    })
  }
})

it('reuses memory: a chain of equal buffers takes the room of two', () => {
  const chain = Array.from({ length: 20 }, (_, i) => ({ bytes: 640, first: i, last: i + 1 }))
  expect(planArena(chain).bytes).toBe(2 * 640)
})

it('needs at least what lives at once, and for random lifetimes not half as much again', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const buffers = randomLifetimes(seed, 60)
    let most = 0
    for (let step = 0; step < 80; step++) {
      const live = buffers.filter(({ first, last }) => first <= step && step <= last)
      most = Math.max(
        most,
        live.reduce((sum, { bytes }) => sum + bytes, 0),
      )
    }
    const { bytes } = planArena(buffers)
    expect(bytes).toBeGreaterThanOrEqual(most)
    expect(bytes).toBeLessThan(1.5 * most)
  }
})

it('plans nothing for nothing', () => {
  expect(planArena([])).toEqual({ offsets: [], bytes: 0 })
})
