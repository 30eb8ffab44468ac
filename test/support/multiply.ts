import type { Tensor } from '../../lib/graph/graph.js'

/** x W^T from its definition, in double precision. */
export async function multiply(x: Float32Array, { shape: [outputs, inputs], data }: Tensor): Promise<Float32Array> {
  const rows = x.length / inputs
  return Float32Array.from({ length: rows * outputs }, (_, i) => {
    const [t, o] = [Math.floor(i / outputs), i % outputs]
    let sum = 0
    for (let k = 0; k < inputs; k++) sum += x[t * inputs + k] * data[o * inputs + k]
    return sum
  })
}
