import type { Graph } from '../graph/graph.js'
import { randomValues } from '../random.js'
import { show } from '../values.js'
import type { Tensors } from './builder.js'
import { buildSwin, type SwinShape } from './swin.js'
import { buildVit, type VitShape } from './vit.js'

/**
 * Models with random weights, for timing.
 */

const WIDTHS: Record<string, { hidden: number; heads: number }> = {
  tiny: { hidden: 192, heads: 3 },
  small: { hidden: 384, heads: 6 },
  base: { hidden: 768, heads: 12 },
}

const SWIN_TINY: SwinShape = {
  channels: 3,
  imageHeight: 224,
  imageWidth: 224,
  patchHeight: 4,
  patchWidth: 4,
  stages: [2, 2, 6, 2].map((depth, s) => ({ depth, hidden: 96 * 2 ** s, heads: 3 * 2 ** s, intermediate: 384 * 2 ** s })),
  window: [7, 7],
  clip: 'both',
  eps: 1e-5,
  classes: 1000,
}

const VITS = ['vit', 'deit'].flatMap((family) => Object.keys(WIDTHS).map((size) => `${family}-${size}`))

/** On images of 224 x 224, 1000 classes; vision transformers with patches of 16 x 16 and no distillation token. */
export const RANDOM_ARCHITECTURES = [...VITS, 'swin-tiny']

/**
 * @param name one of {@link RANDOM_ARCHITECTURES}
 * @throws Error that lists the names when it is none of them
 */
export async function randomGraph(name: string, seed = 0): Promise<Graph> {
  if (!RANDOM_ARCHITECTURES.includes(name)) {
    throw new Error(`${show(name)} is not one of ${RANDOM_ARCHITECTURES.join(', ')}`)
  }
  if (name === 'swin-tiny') return randomSwinOf(SWIN_TINY, seed)
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

/** Of any shape. */
export const randomVitOf = (shape: VitShape, seed: number): Promise<Graph> => buildVit(shape, randomTensors(seed))

/** Of any shape. */
export const randomSwinOf = (shape: SwinShape, seed: number): Promise<Graph> => buildSwin(shape, randomTensors(seed))

/** The scale of the weights keeps activations near 1. */
function randomTensors(seed: number): Tensors {
  let drawn = 0
  return async (name, expected) => {
    if (name.endsWith('reduction.bias')) return null
    const elements = expected.reduce((a, b) => a * b, 1)
    const values = randomValues(elements, Math.imul(seed, 0x01000193) + drawn++)
    const [center, spread] = distribution(name, expected)
    for (let i = 0; i < elements; i++) values[i] = center + spread * values[i]
    await new Promise((resolve) => setImmediate(resolve))
    return { shape: expected, data: values }
  }
}

function distribution(name: string, shape: number[]): [center: number, spread: number] {
  if (name.endsWith('.bias')) return [0, 0.05]
  if (!name.endsWith('.weight')) return [0, 0.2]
  return shape.length === 1 ? [1, 0.1] : [0, Math.sqrt(3 / shape.slice(1).reduce((a, b) => a * b, 1))]
}
