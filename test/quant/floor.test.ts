import { leastAverage, mostMeasurements } from '../../lib/quant/floor.js'
import { uniforms } from '../support/random.js'

const GRID = Array.from({ length: 21 }, (_, i) => 3 + 0.25 * i)

async function search(drops: number[], maxDrop: number) {
  const result = await leastAverage(3, maxDrop, async (average) => drops[GRID.indexOf(average)])
  expect(result.tried.length).toBeLessThanOrEqual(mostMeasurements(3))
  for (const { averageBits, drop } of result.tried) expect(drop).toBe(drops[GRID.indexOf(averageBits)])
  expect(new Set(result.tried.map(({ averageBits }) => averageBits)).size).toBe(result.tried.length)
  return result
}

/** Falling with the average, flat in places. */
function fallingDrops(seed: number): number[] {
  let drop = 0
  const u = uniforms(seed, 2 * GRID.length)
  return GRID.map((_, i) => {
    drop += u[i] < 0.3 ? 0 : 2 * u[GRID.length + i]
    return drop
  }).reverse()
}

it('finds the least average that holds on every falling curve, whatever the limit', async () => {
  for (let seed = 0; seed < 20; seed++) {
    const drops = fallingDrops(seed)
    for (const maxDrop of [...drops, ...drops.map((drop) => drop + 1e-9), 0]) {
      const { found } = await search(drops, maxDrop)
      const least = drops.findIndex((drop) => drop <= maxDrop)
      expect(found).toEqual(least < 0 ? null : { averageBits: GRID[least], drop: drops[least] })
    }
  }
})

it('holds on curves that do not quite fall, where the next average below does not', async () => {
  for (let seed = 0; seed < 200; seed++) {
    const noise = uniforms(1000 + seed, GRID.length)
    const drops = fallingDrops(seed).map((drop, i) => drop + 3 * (noise[i] - 0.5))
    const maxDrop = drops[seed % GRID.length]
    const { found } = await search(drops, maxDrop)
    if (drops[0] > maxDrop && drops[GRID.length - 1] > maxDrop) expect(found).toBeNull()
    else {
      const at = GRID.indexOf(found?.averageBits as number)
      expect(drops[at]).toBeLessThanOrEqual(maxDrop)
      if (at > 0) expect(drops[at - 1]).toBeGreaterThan(maxDrop)
    }
  }
})

it.each([
  [8, 1],
  [7.9, 2],
  [7.75, 2],
  [7.5, 3],
  [2, 7],
])('from %d bits it measures %d times at most, 8 among them', async (least, most) => {
  expect(mostMeasurements(least)).toBe(most)
  const { found, tried } = await leastAverage(least, 0, async (average) => (average < 7.9 ? 1 : 0))
  expect(tried.length).toBeLessThanOrEqual(most)
  expect(found?.averageBits).toBe(least >= 7.9 ? least : 8)
})

it('passes on what measuring throws', async () => {
  await expect(leastAverage(4, 1, () => Promise.reject(new Error('aborted')))).rejects.toThrow('aborted')
})
