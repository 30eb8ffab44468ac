import { logitDistances, meanDivergence } from '../../lib/codes/divergence.js'

it('is the Kullback-Leibler divergence of the softmaxes, averaged over images', () => {
  const p = [0.7, 0.2, 0.1]
  const q = [0.1, 0.3, 0.6]
  const kl = p.reduce((sum, x, i) => sum + x * Math.log(x / q[i]), 0)
  const log = (xs: number[], shift: number) => xs.map((x) => Math.log(x) + shift)
  const reference = Float32Array.from([...log(p, 5), ...log(p, 0)])
  const logits = Float32Array.from([...log(q, -3), ...log(p, 9)])
  expect(meanDivergence(reference, logits, 3)).toBeCloseTo(kl / 2, 5)
  expect(meanDivergence(reference, reference, 3)).toBe(0)
})

it('survives logits far apart', () => {
  expect(meanDivergence(Float32Array.of(1000, 0), Float32Array.of(0, 1000), 2)).toBeCloseTo(1000, 0)
})

it('is the variance over classes of what was added to the logits of an image', () => {
  const reference = Float32Array.of(1, 2, 3, 4, 0, 0, 0, 0)
  const added = [5, 5, 5, 5, 1, -1, 3, -3]
  const [same, other] = logitDistances(
    reference,
    reference.map((x, i) => x + added[i]),
    4,
  )
  expect(same).toBe(0)
  expect(other).toBeCloseTo((1 + 1 + 9 + 9) / 4, 12)
})
