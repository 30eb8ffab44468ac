/**
 * Small symmetric matrices: eigenvectors and powers.
 */

export interface Eigen {
  values: Float64Array
  /** [n][n], column k belongs to values[k]. */
  vectors: Float64Array
}

/** Off-diagonal energy at which a matrix counts as diagonal, as a fraction of all. */
const CONVERGED = 1e-22
const MOST_SWEEPS = 30

/**
 * By Jacobi's rotations, cyclic by rows.
 *
 * @param matrix [n][n], symmetric
 */
export function eigen(matrix: Float64Array, n: number): Eigen {
  const a = matrix.slice()
  const vectors = identity(n)
  const energy = a.reduce((sum, x) => sum + x * x, 0)
  for (let sweep = 0; sweep < MOST_SWEEPS && offDiagonal(a, n) > CONVERGED * energy; sweep++) {
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) if (a[p * n + q] !== 0) annihilate(a, vectors, n, p, q)
    }
  }
  return { values: Float64Array.from({ length: n }, (_, k) => a[k * n + k]), vectors }
}

/** Turns the plane of p and q so that a[p][q] becomes 0. */
function annihilate(a: Float64Array, vectors: Float64Array, n: number, p: number, q: number): void {
  const theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q])
  const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1))
  const c = 1 / Math.sqrt(t * t + 1)
  const s = t * c
  turn(a, n, p, q, c, s, 1, n)
  turn(a, n, p, q, c, s, n, 1)
  turn(vectors, n, p, q, c, s, 1, n)
}

/** Of the lines p and q, which are `line` apart, with elements `next` apart. */
function turn(a: Float64Array, n: number, p: number, q: number, c: number, s: number, line: number, next: number): void {
  for (let k = 0; k < n; k++) {
    const [i, j] = [p * line + k * next, q * line + k * next]
    const [x, y] = [a[i], a[j]]
    a[i] = c * x - s * y
    a[j] = s * x + c * y
  }
}

function offDiagonal(a: Float64Array, n: number): number {
  let sum = 0
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) if (i !== j) sum += a[i * n + j] ** 2
  return sum
}

export function identity(n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0))
}

/** A^exponent of a positive definite matrix. */
export function power(matrix: Float64Array, n: number, exponent: number): Float64Array {
  const { values, vectors } = eigen(matrix, n)
  const scaled = vectors.map((v, i) => v * Math.max(values[i % n], Number.MIN_VALUE) ** exponent)
  return multiply(scaled, transpose(vectors, n), n)
}

/** [n][n] times [n][n] */
export function multiply(a: Float64Array, b: Float64Array, n: number): Float64Array {
  const product = new Float64Array(n * n)
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < n; k++) {
      const x = a[i * n + k]
      for (let j = 0; j < n; j++) product[i * n + j] += x * b[k * n + j]
    }
  }
  return product
}

export function transpose(a: Float64Array, n: number): Float64Array {
  return Float64Array.from(a, (_, i) => a[(i % n) * n + Math.floor(i / n)])
}
