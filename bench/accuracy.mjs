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

/** Those that --model asks for. */
export function modelsOf(bench) {
  const names = bench.among(
    'model',
    MODELS.map(({ name }) => name),
  )
  return MODELS.filter(({ name }) => names.includes(name))
}

/** Images decoded and run together. */
const AT_ONCE = 50

/** Bytes of pixels that are kept from one evaluation to the next. A larger test set is decoded each time, a batch at a time. */
const MOST_KEPT = 2 ** 30

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

/**
 * A test set, for {@link evaluate}.
 *
 * @param mostKept bytes of pixels kept
 * @returns its labels; from a number on the pixels of {@link AT_ONCE} images, or of those that are left, normalised for the model
 */
export async function readImages(model, path, mostKept = MOST_KEPT) {
  const dataset = await openDataset(path, { split: 'test', labels: model.labels })
  const { labels, length } = dataset
  if (!labels) throw new Error(`${dataset.describe()} has no labels, and an evaluation needs them`)
  const { channels, height, width } = model.input
  const keeps = Float32Array.BYTES_PER_ELEMENT * length * channels * height * width <= mostKept
  const kept = new Map()
  const batch = async (first) => {
    if (kept.has(first)) return kept.get(first)
    const indices = Array.from({ length: Math.min(AT_ONCE, length - first) }, (_, i) => first + i)
    const pixels = await loadBatch(dataset, indices, model.parts.preprocessing)
    if (keeps) kept.set(first, pixels)
    return pixels
  }
  return { labels, batch }
}

/** @returns top-1 accuracy, 0 to 1, and the logits of all images */
export async function evaluate(model, { labels, batch }) {
  const images = labels.length
  const classes = model.labels.length
  const logits = new Float32Array(images * classes)
  for (let first = 0; first < images; first += AT_ONCE) {
    const pixels = await batch(first)
    logits.set(await model.run(pixels, Math.min(AT_ONCE, images - first)), first * classes)
  }
  const hits = labels.filter((label, i) => {
    const row = logits.subarray(i * classes, (i + 1) * classes)
    return row.indexOf(Math.max(...row)) === label
  })
  return { top1: hits.length / images, logits }
}

/** The means of these fields over some results. */
export function meanOf(found, fields) {
  return Object.fromEntries(fields.map((field) => [field, found.reduce((sum, one) => sum + one[field], 0) / found.length]))
}
