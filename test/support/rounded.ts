import type { Graph } from '../../lib/graph/graph.js'
import type { Scheme } from '../../lib/graph/scheme.js'
import { unpackWeight } from '../../lib/runtime/blobs.js'

/** Whether every weight is the nearest level of the float model's. */
export function isRounded(float: Graph, { weights }: Scheme): boolean {
  return [...weights].every(([name, { packed, outputs, inputs, bits, steps }]) => {
    const levels = unpackWeight(packed, outputs, inputs, bits)
    const [low, high] = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
    return float.constants.get(name)?.data.every((w, i) => {
      const nearest = Math.min(Math.max(w / steps[Math.floor(i / inputs)], low), high)
      return Math.abs(levels[i] - nearest) <= 0.5 + 1e-6
    })
  })
}
