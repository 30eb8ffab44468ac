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

/** Their mean over images. */
export function meanDivergence(reference: Float32Array, logits: Float32Array, classes: number): number {
  const all = divergences(reference, logits, classes)
  return Math.max(all.reduce((sum, x) => sum + x, 0) / all.length, 0)
}
