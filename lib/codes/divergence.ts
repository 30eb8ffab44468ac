/** log softmax of the `count` logits that begin at `from`. */
export function logSoftmax(logits: Float32Array, from: number, count: number): Float64Array {
  let max = Number.NEGATIVE_INFINITY
  for (let i = 0; i < count; i++) max = Math.max(max, logits[from + i])
  let sum = 0
  for (let i = 0; i < count; i++) sum += Math.exp(logits[from + i] - max)
  const shift = max + Math.log(sum)
  return Float64Array.from({ length: count }, (_, i) => logits[from + i] - shift)
}

/**
 * Mean over images of KL(p || q) in nats between the predictions of two sets of logits, [images][classes] each; p is the reference.
 */
export function meanDivergence(reference: Float32Array, logits: Float32Array, classes: number): number {
  const images = reference.length / classes
  let total = 0
  for (let b = 0; b < images; b++) {
    const p = logSoftmax(reference, b * classes, classes)
    const q = logSoftmax(logits, b * classes, classes)
    for (let i = 0; i < classes; i++) total += Math.exp(p[i]) * (p[i] - q[i])
  }
  return Math.max(total / images, 0)
}
