import { breather } from '../../lib/codes/breathe.js'
import { observationOf } from '../../lib/codes/observation.js'
import { roundValues } from '../../lib/codes/round.js'
import { searchUniform } from '../../lib/codes/search.js'
import type { AttentionNode } from '../../lib/graph/windows.js'
import { type Headed, headUnits, inUnits } from '../../lib/quant/head-steps.js'
import { normals } from '../support/random.js'

const HEADS = 2
const breathe = breather()
const attention = { heads: HEADS } as AttentionNode

it.each<[Headed['kind'], number, (element: number) => number]>([
  ['query', 6, (element) => Number(element % 6 >= 3)],
  // 7 tokens: rows of the first head, then rows of the second.
  ['probabilities', 7, (element) => Math.floor(element / 7 / 7) % 2],
])('gives each head of %s a step in proportion to its values', async (kind, width, headOf) => {
  const rows = HEADS * width
  const values = normals(3, 40 * rows * width).map((x, i) => Math.abs(x) * (headOf(i) === 0 ? 1 : 20))
  const observation = observationOf(values, width)
  const importance = Float64Array.from({ length: width }, (_, c) => 1 + c)
  const found = await headUnits({ kind, attention, elements: rows * width, width }, observation, importance, breathe)
  const { histogram, units } = found as NonNullable<typeof found>
  const { code: inner, loss } = searchUniform(histogram, 5, 127)
  const code = inUnits(inner, units)
  const [one, other] = code.factors as Float32Array
  expect(Math.abs(Math.log2(other / one / 20))).toBeLessThan(0.5)

  let sum = 0
  for (const head of [0, 1]) {
    const own = values.filter((_, i) => headOf(i) === head)
    const columns = [...values.keys()].filter((i) => headOf(i) === head).map((i) => i % width)
    const rounded = own.slice()
    await roundValues(rounded, { ...code, step: code.step * (head === 0 ? one : other), factors: undefined }, 1, breathe)
    own.forEach((x, i) => {
      sum += importance[columns[i]] * (x - rounded[i]) ** 2
    })
  }
  // Extremes count once more.
  expect(loss / sum).toBeGreaterThan(0.99)
  expect(loss / sum).toBeLessThan(1.1)
})

it('has nothing to say of one head', async () => {
  const one = { kind: 'query', attention: { heads: 1 } as AttentionNode, elements: 4, width: 4 } as const
  expect(await headUnits(one, observationOf(normals(1, 16), 4), null, breathe)).toBeNull()
})
