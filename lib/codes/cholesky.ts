/**
 * Symmetric positive definite matrices of the searches, [n][n] in double precision.
 *
 * Each element is a sum whose terms are subtracted in ascending order, one after the other. A processor waits for each of them, so the
 * loops keep four such sums going at once, or four terms of many sums.
 */

type Breathe = () => Promise<void> | void

/**
 * In place: the lower triangle of a becomes L with L L^T = a.
 *
 * @param breathe called between rows of the work
 */
export async function cholesky(a: Float64Array, n: number, breathe: Breathe): Promise<void> {
  for (let i = 0; i < n; i++) {
    const row = i * n
    let j = 0
    for (; j + 4 <= i; j += 4) fourOfRow(a, n, row, j)
    for (; j < i; j++) a[row + j] = rest(a, n, row, j, 0, a[row + j]) / a[j * n + j]
    a[row + i] = Math.sqrt(rest(a, n, row, i, 0, a[row + i]))
    await breathe()
  }
}

/** Columns j to j + 3 of the row that begins at `row`, all of them left of its diagonal. */
function fourOfRow(a: Float64Array, n: number, row: number, j: number): void {
  const [first, second, third, fourth] = [j * n, (j + 1) * n, (j + 2) * n, (j + 3) * n]
  let sum0 = a[row + j]
  let sum1 = a[row + j + 1]
  let sum2 = a[row + j + 2]
  let sum3 = a[row + j + 3]
  for (let k = 0; k < j; k++) {
    const x = a[row + k]
    sum0 -= x * a[first + k]
    sum1 -= x * a[second + k]
    sum2 -= x * a[third + k]
    sum3 -= x * a[fourth + k]
  }
  a[row + j] = sum0 / a[first + j]
  a[row + j + 1] = rest(a, n, row, j + 1, j, sum1) / a[second + j + 1]
  a[row + j + 2] = rest(a, n, row, j + 2, j, sum2) / a[third + j + 2]
  a[row + j + 3] = rest(a, n, row, j + 3, j, sum3) / a[fourth + j + 3]
}

/** What is left of `sum` without the terms from k = `from` on of the row that begins at `row` and of row j. */
function rest(a: Float64Array, n: number, row: number, j: number, from: number, sum: number): number {
  for (let k = from; k < j; k++) sum -= a[row + k] * a[j * n + k]
  return sum
}

/** L^-1 of the lower triangle, row by row: row i of L X = I. */
export async function invertLower(l: Float64Array, n: number, breathe: Breathe): Promise<Float64Array> {
  const x = new Float64Array(n * n)
  for (let i = 0; i < n; i++) {
    const row = i * n
    x[row + i] = 1
    let k = 0
    // Above the diagonal x is zero, so that four rows are subtracted as far as the last of them reaches.
    for (; k + 4 <= i; k += 4) subtractFour(l, x, n, row, k)
    for (; k < i; k++) for (let j = 0; j <= k; j++) x[row + j] -= l[row + k] * x[k * n + j]
    const diagonal = l[row + i]
    for (let j = 0; j <= i; j++) x[row + j] /= diagonal
    await breathe()
  }
  return x
}

/** From the row of x that begins at `row`, rows k to k + 3 times their factors. */
function subtractFour(l: Float64Array, x: Float64Array, n: number, row: number, k: number): void {
  const [first, second, third, fourth] = [k * n, (k + 1) * n, (k + 2) * n, (k + 3) * n]
  const [f0, f1, f2, f3] = [l[row + k], l[row + k + 1], l[row + k + 2], l[row + k + 3]]
  for (let j = 0; j < k + 4; j++) {
    x[row + j] = x[row + j] - f0 * x[first + j] - f1 * x[second + j] - f2 * x[third + j] - f3 * x[fourth + j]
  }
}
