import { codebook, twoScaleCode, uniformCode } from '../../lib/codes/code.js'
import { roundValues } from '../../lib/codes/round.js'
import type { Code } from '../../lib/graph/scheme.js'
import { nearestLevel } from '../support/coded-reference.js'
import { normals } from '../support/random.js'

it.each([
  ['symmetric', uniformCode(4, 0.25, -8)],
  ['unsigned', uniformCode(8, 0.01, 0)],
  ['two-scale', twoScaleCode(5, 0.05, 2, true)],
  ['codebook', codebook(2, 0.5, [-3, 0, 1, 5])],
  ['codebook of neighbours, whose midpoints go up', codebook(2, 0.5, [-1, 0, 1, 2])],
])('rounds every value to its nearest level: %s', async (_, code) => {
  // Halves between levels, values beyond the range, zero.
  const values = Float32Array.from([...normals(1, 4000), 0, -0.125, 0.125, 0.375, 1e6, -1e6])
  const expected = values.map((x) => Math.fround(nearestLevel(code, x) * code.step))
  await roundValues(values, code, 1, () => {})
  // + 0: levels have no sign of zero.
  expect(values.map((x) => x + 0)).toEqual(expected.map((x) => x + 0))
})

it('takes the step of each column', async () => {
  const factors = Float32Array.of(1, 8, 1)
  const code: Code = { ...uniformCode(4, 0.25, -8), family: 'o2sf', factors }
  const values = normals(2, 3000).map((x, i) => (i % 3 === 1 ? 10 * x : x))
  const expected = values.map((x, i) => nearestLevel({ ...code, step: 0.25 * factors[i % 3] }, x) * 0.25 * factors[i % 3])
  await roundValues(values, code, 3, () => {})
  expect(values.map((x) => x + 0)).toEqual(expected.map((x) => x + 0))
})

it('leaves all integers of a byte to the first row of each image', async () => {
  const code: Code = { ...codebook(2, 0.5, [-30, 0, 10, 50]), fineFirst: -100 }
  const [images, rows, width] = [3, 4, 5]
  const values = normals(3, images * rows * width).map((x) => 20 * x)
  const all = uniformCode(8, 0.5, -100)
  const expected = values.map((x, i) => nearestLevel(Math.floor(i / width) % rows === 0 ? all : code, x) * code.step)
  const rounded = values.slice()
  await roundValues(rounded, code, width, () => {}, rows)
  expect(rounded.map((x) => x + 0)).toEqual(expected.map((x) => x + 0))
})
