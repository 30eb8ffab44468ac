import { firstOutside } from '../runtime/blobs.js'

/**
 * Half-width floats to float32, in slices, so that the event loop goes on, and the check that weights are numbers.
 */

const LARGEST_FLOAT = 2 ** 128 - 2 ** 104

/** Elements handled between two chances for the event loop: a few milliseconds. */
const SLICE = 1 << 20

const yieldToEventLoop = () => new Promise<void>((resolve) => setImmediate(resolve))

async function inSlices(length: number, visit: (begin: number, end: number) => void): Promise<void> {
  for (let begin = 0; begin < length; begin += SLICE) {
    visit(begin, Math.min(begin + SLICE, length))
    if (begin + SLICE < length) await yieldToEventLoop()
  }
}

/** IEEE binary16, exactly. */
export async function fromFloat16(halves: Uint16Array): Promise<Float32Array> {
  const floats = new Float32Array(halves.length)
  const bits = new Uint32Array(floats.buffer)
  await inSlices(halves.length, (begin, end) => {
    for (let i = begin; i < end; i++) bits[i] = float16Bits(halves[i])
  })
  return floats
}

/** The upper half of a float32. */
export async function fromBfloat16(halves: Uint16Array): Promise<Float32Array> {
  const floats = new Float32Array(halves.length)
  const bits = new Uint32Array(floats.buffer)
  await inSlices(halves.length, (begin, end) => {
    for (let i = begin; i < end; i++) bits[i] = halves[i] << 16
  })
  return floats
}

/** The index of the first element that is infinite or not a number, or -1. At once: 20 GB a second. */
export function findNonFinite(values: Float32Array): number {
  return firstOutside(values, -LARGEST_FLOAT, LARGEST_FLOAT)
}

function float16Bits(half: number): number {
  const sign = (half & 0x8000) << 16
  const exponent = (half >> 10) & 0x1f
  let mantissa = half & 0x3ff
  if (exponent === 0x1f) return sign | 0x7f800000 | (mantissa << 13)
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (mantissa << 13)
  if (mantissa === 0) return sign
  // Subnormal: shift the leading one to its implicit place.
  const shift = Math.clz32(mantissa) - 21
  mantissa = (mantissa << shift) & 0x3ff
  return sign | ((113 - shift) << 23) | (mantissa << 13)
}
