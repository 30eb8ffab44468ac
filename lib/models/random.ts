import type { Graph } from '../graph/graph.js'
import { randomValues } from '../random.js'
import { buildVit, type VitShape } from './vit.js'

/**
 * Vision transformers with random weights, for timing.
 */

const WIDTHS: Record<string, { hidden: number; heads: number }> = {
  tiny: { hidden: 192, heads: 3 },
  small: { hidden: 384, heads: 6 },
  base: { hidden: 768, heads: 12 },
}

/** Patches of 16 x 16 on images of 224 x 224, 1000 classes, no distillation token. */
export const RANDOM_VITS = ['vit', 'deit'].flatMap((family) => Object.keys(WIDTHS).map((size) => `${family}-${size}`))

/**
 * @param name one of {@link RANDOM_VITS}
 * @throws Error that lists the names when it is none of them
 */
export async function randomViT(name: string, seed = 0): Promise<Graph> {
  if (!RANDOM_VITS.includes(name)) throw new Error(`${JSON.stringify(name)} is not one of ${RANDOM_VITS.join(', ')}`)
  const [architecture, size] = name.split('-')
  const { hidden, heads } = WIDTHS[size]
  return randomVitOf(
    {
      architecture,
      channels: 3,
      imageHeight: 224,
      imageWidth: 224,
      patchHeight: 16,
      patchWidth: 16,
      hidden,
      heads,
      intermediate: 4 * hidden,
      layers: 12,
      eps: 1e-6,
      distillationToken: false,
      distillationHead: false,
      classes: 1000,
    },
    seed,
  )
}

/** Of any shape. The scale of the weights keeps activations near 1. */
export function randomVitOf(shape: VitShape, seed: number): Promise<Graph> {
  let drawn = 0
  return buildVit(shape, async (name, expected) => {
    const elements = expected.reduce((a, b) => a * b, 1)
    const values = randomValues(elements, Math.imul(seed, 0x01000193) + drawn++)
    const [center, spread] = distribution(name, expected)
    for (let i = 0; i < elements; i++) values[i] = center + spread * values[i]
    await new Promise((resolve) => setImmediate(resolve))
    return { shape: expected, data: values }
  })
}

function distribution(name: string, shape: number[]): [center: number, spread: number] {
  if (name.endsWith('.bias')) return [0, 0.05]
  if (!name.endsWith('.weight')) return [0, 0.2]
  return shape.length === 1 ? [1, 0.1] : [0, Math.sqrt(3 / shape.slice(1).reduce((a, b) => a * b, 1))]
}
