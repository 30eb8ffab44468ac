/** Pixels -> the float input of a model, following the recipe that came with its checkpoint. */
import { channelSteps, checkRawImage, type RawImage } from './image.js'
import type { Preprocessing } from './preprocessing.js'
import { resizeSteps } from './resize.js'
import { finish, type Steps } from './steps.js'

export { preprocessingFromTimm } from './config-timm.js'
export { preprocessingFromConfig } from './config-transformers.js'
export { checkPreprocessing, type Preprocessing } from './preprocessing.js'

/**
 * Converts to the model's channels, resizes, crops and normalises one image.
 *
 * @param target gets [channels][height][width] floats from `offset` on
 * @throws RangeError when the image is not as big as its width and height say, far too long, or target is too small;
 *   Error when the recipe does not resize and the image has another size than the model's input
 */
export function preprocess(image: RawImage, preprocessing: Preprocessing, target: Float32Array, offset = 0): void {
  finish(preprocessSteps(image, preprocessing, target, offset))
}

/** `preprocess` in steps. */
export function* preprocessSteps(image: RawImage, p: Preprocessing, target: Float32Array, offset: number, name?: string): Steps<void> {
  checkRawImage(image, name)
  const size = p.channels * p.height * p.width
  if (!Number.isInteger(offset) || offset < 0 || offset + size > target.length) {
    throw new RangeError(`the target has ${target.length} values: too few for ${size} from ${offset} on`)
  }
  const converted = yield* channelSteps(image, p.channels)
  const [height, width] = resizedSize(converted, p, name)
  const resized = yield* resizeSteps(converted, width, height, p.resample)
  if (p.crop === null && (resized.height !== p.height || resized.width !== p.width)) {
    throw new Error(
      `${name ?? 'the image'} has ${resized.width} x ${resized.height} pixels and the checkpoint's preprocessing does not resize: ` +
        `resize it to ${p.width} x ${p.height} first`,
    )
  }
  for (let c = 0; c < p.channels; c++) {
    normaliseChannel(resized, c, p, target, offset + c * p.height * p.width)
    yield
  }
}

/** Height and width after resizing. The longer side is truncated, as transformers and torchvision do. */
function resizedSize(image: RawImage, { resize }: Preprocessing, name = 'the image'): [number, number] {
  const { width, height } = image
  if (resize === null) return [height, width]
  if (resize.mode === 'exact') return [resize.height, resize.width]
  const { edge } = resize
  const long = Math.trunc((edge * Math.max(width, height)) / Math.min(width, height))
  if (long > 65535)
    throw new RangeError(`${name}, ${width} x ${height}, is too long: with ${edge} pixels across it would have ${long} along`)
  return width <= height ? [long, edge] : [edge, long]
}

/** First row or column of the crop; negative: that many black ones come first. */
function cropStart(size: number, crop: number, rounding: 'even' | undefined): number {
  if (size < crop) return -Math.floor((crop - size) / 2)
  const down = Math.floor((size - crop) / 2)
  const half = (size - crop) % 2 === 1
  return half && rounding === 'even' && down % 2 === 1 ? down + 1 : down
}

/** The 256 values of a channel, each operation rounded to float32 as numpy does. */
function normalised(rescale: number, mean: number, std: number): Float32Array {
  return Float32Array.from({ length: 256 }, (_, pixel) => Math.fround(Math.fround(pixel * rescale) - Math.fround(mean)) / Math.fround(std))
}

function normaliseChannel(image: RawImage, channel: number, p: Preprocessing, target: Float32Array, offset: number): void {
  const { data, channels } = image
  const values = normalised(p.rescale, p.mean[channel], p.std[channel])
  const top = cropStart(image.height, p.height, p.crop?.rounding)
  const left = cropStart(image.width, p.width, p.crop?.rounding)
  for (let y = 0, o = offset; y < p.height; y++) {
    const row = y + top
    if (row < 0 || row >= image.height) {
      target.fill(values[0], o, o + p.width)
      o += p.width
      continue
    }
    for (let x = 0; x < p.width; x++, o++) {
      const column = x + left
      const inside = column >= 0 && column < image.width
      target[o] = values[inside ? data[(row * image.width + column) * channels + channel] : 0]
    }
  }
}
