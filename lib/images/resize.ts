/**
 * Resizing, bit-equal to Pillow's Image.resize on 8-bit images, because that is what checkpoints were trained and published with.
 *
 * Two passes, rows then columns, each a fixed-point weighted sum rounded and clipped to 0..255; a pass that changes nothing is left out.
 * Sums fit int32: weights are 2^22 in total, at most 1.4 x that in magnitude, times 255.
 */
import { filterWeights, PRECISION_BITS, type Resample, type Weights } from './filters.js'
import type { RawImage } from './image.js'
import { finish, type Steps } from './steps.js'

/** Multiplications between two yields: one to two milliseconds. */
const STEP = 2 ** 20

/** By name: reaching a global through an object costs tens of times the product in the contexts that jest runs code in. */
const { imul, max, min } = Math

const HALF = 1 << (PRECISION_BITS - 1)

/**
 * @param width columns of the result, 1..65535
 * @param height rows of the result
 * @returns a new image, or the image itself when it has that size already
 */
export function resize(image: RawImage, width: number, height: number, resample: Resample): RawImage {
  return finish(resizeSteps(image, width, height, resample))
}

/** `resize` in steps. */
export function* resizeSteps(image: RawImage, width: number, height: number, resample: Resample): Steps<RawImage> {
  if (image.width === width && image.height === height) return image
  if (resample === 'nearest') return yield* nearest(image, width, height)
  if (image.width !== width) image = yield* horizontal(image, width, filterWeights(resample, image.width, width))
  if (image.height !== height) image = yield* vertical(image, height, filterWeights(resample, image.height, height))
  return image
}

function* horizontal(image: RawImage, width: number, plan: Weights): Steps<RawImage> {
  const { height, channels } = image
  const data = new Uint8Array(width * height * channels)
  const pass = channels === 3 ? rows3 : rows1
  const rows = Math.max(1, Math.floor(STEP / (width * plan.stride * channels)))
  for (let y = 0; y < height; y += rows) {
    pass(image, data, width, plan, y, Math.min(height, y + rows))
    yield
  }
  return { data, width, height, channels }
}

function* vertical(image: RawImage, height: number, plan: Weights): Steps<RawImage> {
  const { width, channels } = image
  const data = new Uint8Array(width * height * channels)
  const sums = new Int32Array(width * channels)
  const rows = Math.max(1, Math.floor(STEP / (width * plan.stride * channels)))
  for (let y = 0; y < height; y += rows) {
    columns(image, data, sums, plan, y, Math.min(height, y + rows))
    yield
  }
  return { data, width, height, channels }
}

/** Round and clip, as every pass ends. */
function clip(sum: number): number {
  return max(0, min(255, sum >> PRECISION_BITS))
}

function rows3(image: RawImage, out: Uint8Array, width: number, plan: Weights, from: number, to: number): void {
  const { data } = image
  const { first, count, stride, weights } = plan
  for (let y = from, o = from * width * 3; y < to; y++) {
    const row = y * image.width * 3
    for (let x = 0; x < width; x++, o += 3) {
      let r = HALF
      let g = HALF
      let b = HALF
      const end = x * stride + count[x]
      for (let k = x * stride, i = row + first[x] * 3; k < end; k++, i += 3) {
        const weight = weights[k]
        r = (r + imul(data[i], weight)) | 0
        g = (g + imul(data[i + 1], weight)) | 0
        b = (b + imul(data[i + 2], weight)) | 0
      }
      out[o] = clip(r)
      out[o + 1] = clip(g)
      out[o + 2] = clip(b)
    }
  }
}

function rows1(image: RawImage, out: Uint8Array, width: number, plan: Weights, from: number, to: number): void {
  const { data } = image
  const { first, count, stride, weights } = plan
  for (let y = from, o = from * width; y < to; y++) {
    const row = y * image.width
    for (let x = 0; x < width; x++, o++) {
      let sum = HALF
      const end = x * stride + count[x]
      for (let k = x * stride, i = row + first[x]; k < end; k++, i++) sum = (sum + imul(data[i], weights[k])) | 0
      out[o] = clip(sum)
    }
  }
}

/** Whole rows times one weight each: reads memory in order, whatever the channels. */
function columns(image: RawImage, out: Uint8Array, sums: Int32Array, plan: Weights, from: number, to: number): void {
  const { data } = image
  const { first, count, stride, weights } = plan
  const length = sums.length
  for (let y = from; y < to; y++) {
    sums.fill(HALF)
    for (let k = 0; k < count[y]; k++) {
      const weight = weights[y * stride + k]
      const row = (first[y] + k) * length
      for (let i = 0; i < length; i++) sums[i] += imul(data[row + i], weight)
    }
    for (let i = 0; i < length; i++) out[y * length + i] = clip(sums[i])
  }
}

/** Source coordinates of the pixel centres; Pillow adds the scale up instead of multiplying, and its rounding shows. */
function nearestSources(from: number, to: number): Int32Array {
  const scale = from / to
  let position = scale * 0.5
  return Int32Array.from({ length: to }, () => {
    const source = Math.min(from - 1, Math.trunc(position))
    position += scale
    return source
  })
}

function* nearest(image: RawImage, width: number, height: number): Steps<RawImage> {
  const { channels, data: source } = image
  const data = new Uint8Array(width * height * channels)
  const xs = nearestSources(image.width, width)
  const ys = nearestSources(image.height, height)
  for (let y = 0, o = 0; y < height; y++) {
    const row = ys[y] * image.width
    for (let x = 0; x < width; x++) {
      for (let c = 0, i = (row + xs[x]) * channels; c < channels; c++) data[o++] = source[i++]
    }
    if (y % 64 === 63) yield
  }
  return { data, width, height, channels }
}
