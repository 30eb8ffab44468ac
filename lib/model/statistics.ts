/**
 * The 95 % Wilson score interval of a proportion: `hits` of `trials`. Unlike the normal approximation it stays inside 0..1 and is right
 * near 0 and 1.
 */
export function wilsonInterval(hits: number, trials: number): [number, number] {
  const z = 1.959964
  const p = hits / trials
  const center = (p + (z * z) / (2 * trials)) / (1 + (z * z) / trials)
  const half = (z / (1 + (z * z) / trials)) * Math.sqrt((p * (1 - p)) / trials + (z * z) / (4 * trials * trials))
  return [Math.max(0, center - half), Math.min(1, center + half)]
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Indices of the `count` largest values, largest first; ties go to the lower index. */
export function topIndices(values: ArrayLike<number>, count: number): number[] {
  return Array.from(values, (_, i) => i)
    .sort((a, b) => values[b] - values[a] || a - b)
    .slice(0, count)
}

export function softmax(logits: Float32Array): Float64Array {
  const max = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  const exp = Float64Array.from(logits, (x) => Math.exp(x - max))
  const sum = exp.reduce((a, b) => a + b, 0)
  return exp.map((e) => e / sum)
}
