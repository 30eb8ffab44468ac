/** Seeded generators: what `seed` fixes. */

/** @throws RangeError */
export function checkSeed(seed: number): void {
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)) {
    throw new RangeError(`seed must be an integer from 0 to 2^32 - 1, not ${seed}`)
  }
}

/** Uniform values in [0, 1): a 32-bit counter through a mixing function (Wellons' lowbias32), 24 bits each. */
export function randomUniform(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x9e3779b9) >>> 0
    let h = state
    h = Math.imul(h ^ (h >>> 16), 0x21f0aaad)
    h = Math.imul(h ^ (h >>> 15), 0x735a2d97)
    return ((h ^ (h >>> 15)) >>> 8) / 2 ** 24
  }
}

/** `count` values in [-1, 1). */
export function randomValues(count: number, seed: number): Float32Array {
  const next = randomUniform(seed)
  return Float32Array.from({ length: count }, () => 2 * next() - 1)
}
