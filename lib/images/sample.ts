import { randomUniform } from '../random.js'

/**
 * A seeded draw without replacement, every subset equally likely: the first `count` steps of a Fisher-Yates shuffle of 0..n-1 that takes
 * its values from `randomUniform(seed)`.
 *
 * @param n 0..2^24
 * @param count 0..n
 * @returns `count` different indices, in the order drawn
 */
export function sampleIndices(n: number, count: number, seed: number): number[] {
  if (!Number.isInteger(n) || n < 0 || n > 2 ** 24) throw new RangeError(`n must be an integer from 0 to 2^24, not ${n}`)
  if (!Number.isInteger(count) || count < 0 || count > n) {
    throw new RangeError(`count must be an integer from 0 to ${n}, not ${count}`)
  }
  const indices = Array.from({ length: n }, (_, i) => i)
  const next = randomUniform(seed)
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(next() * (n - i))
    const drawn = indices[j]
    indices[j] = indices[i]
    indices[i] = drawn
  }
  return indices.slice(0, count)
}
