/** Pillow's resampling filters and the fixed-point weights that it makes of them. */

/** Named as in timm; transformers uses Pillow's numbers, see RESAMPLE_BY_NUMBER. */
export type Resample = 'nearest' | 'box' | 'bilinear' | 'hamming' | 'bicubic' | 'lanczos'

/** PIL.Image.Resampling: the index is the number in a preprocessor_config.json. */
export const RESAMPLE_BY_NUMBER: readonly Resample[] = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming']

/** Bits behind the point of a weight: 32 less 8 of the pixel and 2 for overshoot, so that a sum fits int32. */
export const PRECISION_BITS = 32 - 8 - 2

interface Filter {
  /** The filter is zero beyond this distance from its centre, in source pixels at scale 1. */
  support: number
  at(x: number): number
}

const A = -0.5

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI)
}

export const FILTERS: Record<Exclude<Resample, 'nearest'>, Filter> = {
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    // Pillow writes these two constants in single precision.
    at: (x) => (Math.abs(x) < 1 ? sinc(x) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(x * Math.PI)) : 0),
  },
  bicubic: {
    support: 2,
    at(x) {
      x = Math.abs(x)
      if (x < 1) return ((A + 2) * x - (A + 3)) * x * x + 1
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * A : 0
    },
  },
  lanczos: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
}

/** Output pixel i is the sum of `count[i]` source pixels from `first[i]` on, times weights[i * stride ..]. */
export interface Weights {
  first: Int32Array
  count: Int32Array
  stride: number
  /** Times 2^PRECISION_BITS, rounded to nearest. */
  weights: Int32Array
}

/**
 * Weights of one direction. When shrinking, the filter is stretched by the ratio, which is what makes it an antialiasing filter.
 *
 * @param from source pixels
 * @param to output pixels
 */
export function filterWeights(resample: Exclude<Resample, 'nearest'>, from: number, to: number): Weights {
  const filter = FILTERS[resample]
  const scale = from / to
  const stretch = Math.max(1, scale)
  const support = filter.support * stretch
  const stride = Math.ceil(support) * 2 + 1
  const first = new Int32Array(to)
  const count = new Int32Array(to)
  const weights = new Int32Array(to * stride)
  const row = new Float64Array(stride)
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale
    const low = Math.max(0, Math.trunc(centre - support + 0.5))
    const high = Math.min(from, Math.trunc(centre + support + 0.5))
    const inverse = 1 / stretch
    let sum = 0
    for (let x = 0; x < high - low; x++) sum += row[x] = filter.at((x + low - centre + 0.5) * inverse)
    first[i] = low
    count[i] = high - low
    for (let x = 0; x < high - low; x++) {
      const weight = (sum === 0 ? row[x] : row[x] / sum) * 2 ** PRECISION_BITS
      weights[i * stride + x] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5)
    }
  }
  return { first, count, stride, weights }
}
