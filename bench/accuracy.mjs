// What benchmarks of accuracy have in common.
import { meanDivergence } from '../dist/esm/codes/divergence.js'
import { loadBatch } from '../dist/esm/images/batch.js'
import { openDataset, quantize } from '../dist/esm/index.js'

const CIFAR = { calibrate: 'cifar10', test: 'cifar10/test_batch.bin' }
const PHOTOS = { calibrate: 'imagenet-like/calibration', test: 'imagenet-like/test' }
/** Checkpoints, and their images; paths are in SHARED (runner.mjs). */
export const MODELS = [
  { name: 'vit-cifar10', ...CIFAR },
  { name: 'swin-cifar10', ...CIFAR },
  { name: 'vit-tiny-imagenet', ...PHOTOS },
]

/** Images decoded together. */
const AT_ONCE = 50

/**
 * Quantizes a model and compares it with the float model.
 *
 * @param reference what {@link evaluate} gave for the float model
 */
export async function measureQuantized(float, reference, options, data) {
  const start = performance.now()
  const model = await quantize(float, options)
  const seconds = (performance.now() - start) / 1000
  try {
    const { top1, logits } = await evaluate(model, data)
    const { weightBits, activationBits, bytes } = model.info()
    const drop = 100 * (reference.top1 - top1)
    return {
      top1,
      drop,
      bytes,
      divergence: meanDivergence(reference.logits, logits, model.labels.length),
      weightBits,
      activationBits,
      seconds,
    }
  } finally {
    model.dispose()
  }
}

/** The images of a test set, normalised for a model, and their labels. */
export async function readImages(model, path) {
  const dataset = await openDataset(path, { split: 'test', labels: model.labels })
  const { channels, height, width } = model.input
  const pixels = new Float32Array(dataset.length * channels * height * width)
  for (let first = 0; first < dataset.length; first += AT_ONCE) {
    const indices = Array.from({ length: Math.min(AT_ONCE, dataset.length - first) }, (_, i) => first + i)
    pixels.set(await loadBatch(dataset, indices, model.parts.preprocessing, {}), first * channels * height * width)
  }
  return { pixels, labels: dataset.labels }
}

/** @returns top-1 accuracy, 0 to 1, and the logits of all images */
export async function evaluate(model, { pixels, labels }) {
  const logits = await model.run(pixels, labels.length)
  const classes = model.labels.length
  const hits = labels.filter((label, i) => {
    const row = logits.subarray(i * classes, (i + 1) * classes)
    return row.indexOf(Math.max(...row)) === label
  })
  return { top1: hits.length / labels.length, logits }
}

/** The means of these fields over some results. */
export function meanOf(found, fields) {
  return Object.fromEntries(fields.map((field) => [field, found.reduce((sum, one) => sum + one[field], 0) / found.length]))
}
