import { type Dataset, memoryDataset, type RawImage } from '../../lib/index.js'
import { Model } from '../../lib/model/model.js'
import { uniforms } from './random.js'
import { SMALL_SHAPE, smallVit } from './small-vit.js'

/** A float model with random weights that is quantized in a second. */
export async function tinyModel(): Promise<Model> {
  const { imageHeight: height, imageWidth: width, classes } = SMALL_SHAPE
  const preprocessing = {
    ...{ resize: { mode: 'exact' as const, height, width }, resample: 'bilinear' as const, crop: null, rescale: 1 / 255 },
    ...{ mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], channels: 3 as const, height, width },
  }
  return new Model({
    graph: await smallVit(),
    scheme: null,
    preprocessing,
    labels: Array.from({ length: classes }, (_, i) => `class ${i}`),
  })
}

/** Images of noise. */
export function noise(seed: number, count: number): RawImage[] {
  const { imageHeight: height, imageWidth: width } = SMALL_SHAPE
  const values = uniforms(seed, count * height * width * 3)
  return Array.from({ length: count }, (_, i) => ({
    data: Uint8Array.from(values.subarray(i * height * width * 3, (i + 1) * height * width * 3), (x) => 256 * x),
    ...{ width, height, channels: 3 as const },
  }))
}

/**
 * Of three times as many images of noise those whose two likeliest classes the model tells apart best, so that codes change few answers.
 */
export async function clearNoise(model: Model, seed: number, count: number): Promise<RawImage[]> {
  const images = noise(seed, 3 * count)
  const ratios = (await model.classify(images, { top: 2 })).map(([first, second]) => first.probability / second.probability)
  return [...images.keys()]
    .sort((a, b) => ratios[b] - ratios[a])
    .slice(0, count)
    .map((i) => images[i])
}

/** Images with what the model answers as labels, so that it is always right. */
export async function answered(model: Model, images: RawImage[]): Promise<Dataset> {
  const labels: number[] = []
  for (const [{ index }] of await model.classify(images, { top: 1 })) labels.push(index)
  return memoryDataset(images, labels)
}
