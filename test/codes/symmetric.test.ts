import { eigen, identity, multiply, power, transpose } from '../../lib/codes/symmetric.js'
import { normals } from '../support/random.js'

const worst = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a, (x, i) => Math.abs(x - b[i])).reduce((most, x) => Math.max(most, x), 0)

/** X^T X of random X, and so positive definite. */
function randomMatrix(n: number): Float64Array {
  const x = Float64Array.from(normals(n, n * n))
  return multiply(transpose(x, n), x, n).map((y, i) => y + (i % (n + 1) === 0 ? 0.1 : 0))
}

it.each([1, 2, 3, 8, 33])('eigenvectors of order %i are orthonormal and make the matrix up', (n) => {
  const matrix = randomMatrix(n)
  const { values, vectors } = eigen(matrix, n)
  expect(worst(multiply(transpose(vectors, n), vectors, n), identity(n))).toBeLessThan(1e-12)
  const scaled = vectors.map((v, i) => v * values[i % n])
  expect(worst(multiply(scaled, transpose(vectors, n), n), matrix)).toBeLessThan(1e-11 * n)
})

it('has the known eigenvalues of a matrix of order 2', () => {
  expect([...eigen(Float64Array.of(2, 1, 1, 2), 2).values].sort()).toEqual([expect.closeTo(1, 12), expect.closeTo(3, 12)])
})

it('takes diagonal matrices and zeros as they are', () => {
  expect([...eigen(Float64Array.of(3, 0, 0, -1), 2).values]).toEqual([3, -1])
  expect([...eigen(new Float64Array(9), 3).values]).toEqual([0, 0, 0])
})

it('powers add up', () => {
  const n = 9
  const matrix = randomMatrix(n)
  expect(worst(multiply(power(matrix, n, 0.5), power(matrix, n, 0.5), n), matrix)).toBeLessThan(1e-10)
  expect(worst(multiply(power(matrix, n, -1), matrix, n), identity(n))).toBeLessThan(1e-8)
})
