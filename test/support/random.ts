/** Seeded values in [0, 1): splitmix-like mixing of a counter, enough for tests. */
export function uniforms(seed: number, count: number): Float32Array {
  let state = (seed * 0x9e3779b9 + 0x85ebca6b) >>> 0
  return Float32Array.from({ length: count }, () => {
    state = (state + 0x9e3779b9) >>> 0
    let h = state
    h = Math.imul(h ^ (h >>> 16), 0x21f0aaad)
    h = Math.imul(h ^ (h >>> 15), 0x735a2d97)
    return ((h ^ (h >>> 15)) >>> 8) / 2 ** 24
  })
}

/** Seeded standard normal values (Box-Muller). */
export function normals(seed: number, count: number): Float32Array {
  const u = uniforms(seed, 2 * count)
  return Float32Array.from({ length: count }, (_, i) => Math.sqrt(-2 * Math.log(1 - u[2 * i])) * Math.cos(2 * Math.PI * u[2 * i + 1]))
}
