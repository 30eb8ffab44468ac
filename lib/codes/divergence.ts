/** log softmax of the `count` logits that begin at `from`. */
export function logSoftmax(logits: Float32Array, from: number, count: number): Float64Array {
  let max = Number.NEGATIVE_INFINITY
  for (let i = 0; i < count; i++) max = Math.max(max, logits[from + i])
  let sum = 0
  for (let i = 0; i < count; i++) sum += Math.exp(logits[from + i] - max)
  const shift = max + Math.log(sum)
  return Float64Array.from({ length: count }, (_, i) => logits[from + i] - shift)
}

/** KL(p || q) in nats of each image between the predictions of two sets of logits, [images][classes] each; p is the reference. */
export function divergences(reference: Float32Array, logits: Float32Array, classes: number): Float64Array {
  return Float64Array.from({ length: reference.length / classes }, (_, b) => {
    const p = logSoftmax(reference, b * classes, classes)
    const q = logSoftmax(logits, b * classes, classes)
    return p.reduce((sum, x, i) => sum + Math.exp(x) * (x - q[i]), 0)
  })
}

/**
 * Mean squared difference of the logits of each image, less what is the same for all classes, which softmax does not see. Says much less of
 * predictions than their divergence, but all classes speak in it and not the likely ones alone: of two models the better one shows on a
 * quarter as many images, or fewer.
 */
export function logitDistances(reference: Float32Array, logits: Float32Array, classes: number): Float64Array {
  return Float64Array.from({ length: reference.length / classes }, (_, b) => {
    const difference = Float64Array.from({ length: classes }, (_, i) => logits[b * classes + i] - reference[b * classes + i])
    return meanAndSpread(difference).spread ** 2 * (1 - 1 / classes)
  })
}

/** Mean and standard deviation (n - 1; 0 for a single value). */
export function meanAndSpread(values: Float64Array): { mean: number; spread: number } {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0)
  return { mean, spread: Math.sqrt(squares / Math.max(1, values.length - 1)) }
}

/** The mean of {@link divergences}. */
export function meanDivergence(reference: Float32Array, logits: Float32Array, classes: number): number {
  return Math.max(meanAndSpread(divergences(reference, logits, classes)).mean, 0)
}
