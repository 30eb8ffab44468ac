import { breather } from '../../lib/codes/breathe.js'
import { observationOf } from '../../lib/codes/observation.js'
import type { AttentionNode } from '../../lib/graph/windows.js'
import { CodeSearch } from '../../lib/quant/choose.js'
import type { Part } from '../../lib/quant/parts.js'
import { nearestLevel } from '../support/coded-reference.js'
import { normals } from '../support/random.js'

const [ROWS, TOKENS] = [300, 40]
/** Softmax of logits whose spread differs from query to query: some attend to all keys, some to one. */
const weights = normals(4, ROWS * TOKENS).map((x, i) => Math.exp(x * (Math.floor(i / TOKENS) % 6)))
for (let t = 0; t < ROWS; t++) {
  const row = weights.subarray(t * TOKENS, (t + 1) * TOKENS)
  const sum = row.reduce((a, b) => a + b, 0)
  row.forEach((x, s) => (row[s] = x / sum))
}
const importance = Float64Array.from({ length: TOKENS }, (_, s) => 1 + (s % 3))

function searchOf(...without: Part[]): Promise<CodeSearch> {
  const operand = {
    kind: 'probabilities',
    factors: false,
    anyZero: false,
    fineFirst: false,
    elements: 2 * TOKENS * TOKENS,
    width: TOKENS,
  } as const
  const attention = { heads: 2 } as AttentionNode
  return CodeSearch.of({ ...operand, attention }, observationOf(weights, TOKENS), importance, breather(), new Set(without))
}

it.each([3, 4, 6, 8])('loses what its codes lose of the weights themselves, and less than one step for all, %i bits', async (bits) => {
  const { code, loss } = await (await searchOf()).best(bits)
  expect(code.relative).toBe(true)
  let sum = 0
  for (let t = 0; t < ROWS; t++) {
    const row = weights.subarray(t * TOKENS, (t + 1) * TOKENS)
    const largest = Math.max(...row)
    row.forEach((x, s) => (sum += importance[s] * (x - nearestLevel(code, x / largest) * code.step * largest) ** 2))
  }
  // Extremes count once more, and a bin of the histogram is cut by a threshold.
  expect(loss / sum).toBeGreaterThan(0.95)
  expect(loss / sum).toBeLessThan(1.1)
  const absolute = await (await searchOf('relative-softmax')).best(bits)
  expect(absolute.code.relative).toBeUndefined()
  expect(loss).toBeLessThan(absolute.loss)
})
