/**
 * Symmetric positive definite matrices of the searches, [n][n] in double precision.
 */

type Breathe = () => Promise<void> | void

/**
 * In place: the lower triangle of a becomes L with L L^T = a.
 *
 * @param breathe called between rows of the work
 */
export async function cholesky(a: Float64Array, n: number, breathe: Breathe): Promise<void> {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]
      for (let k = 0; k < j; k++) sum -= a[i * n + k] * a[j * n + k]
      a[i * n + j] = i === j ? Math.sqrt(sum) : sum / a[j * n + j]
    }
    await breathe()
  }
}

/** L^-1 of the lower triangle, row by row: row i of L X = I. */
export async function invertLower(l: Float64Array, n: number, breathe: Breathe): Promise<Float64Array> {
  const x = new Float64Array(n * n)
  for (let i = 0; i < n; i++) {
    const row = x.subarray(i * n, (i + 1) * n)
    row[i] = 1
    for (let k = 0; k < i; k++) {
      const factor = l[i * n + k]
      if (factor === 0) continue
      const from = k * n
      for (let j = 0; j <= k; j++) row[j] -= factor * x[from + j]
    }
    const diagonal = l[i * n + i]
    for (let j = 0; j <= i; j++) row[j] /= diagonal
    await breathe()
  }
  return x
}
