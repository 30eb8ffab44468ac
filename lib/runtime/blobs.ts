import addon from '#addon'
import type { NativeBlob } from './addon-types.js'

/**
 * Native memory, the packed order of weights and checks of floats, for the rooms that prepare constants. See addon-types.ts.
 */

export type { NativeBlob }

/** A copy of `bytes` in 64-byte aligned native memory. */
export function createBlob(bytes: Uint8Array): NativeBlob {
  return addon.createBlob(bytes)
}

/** Zeroed native memory. */
export function allocateBlob(byteLength: number): NativeBlob {
  return addon.allocateBlob(byteLength)
}

/** A file read in place; null where files cannot be mapped. The descriptor may be closed afterwards. */
export function mapFile(descriptor: number): NativeBlob | null {
  try {
    return addon.mapFile(descriptor)
  } catch {
    return null
  }
}

/** A part of a blob; in place where `offset` is a multiple of 64, else a copy. */
export function sliceBlob(blob: NativeBlob, offset: number, byteLength: number): NativeBlob {
  if (offset % 64 === 0) return addon.sliceBlob(blob, offset, byteLength)
  const bytes = new Uint8Array(byteLength)
  blob.read(offset, bytes)
  return addon.createBlob(bytes)
}

/** Bytes of a packed weight [outputs][inputs] of `bits` bits. */
export function packedBytes(outputs: number, inputs: number, bits: number): number {
  return addon.packedBytes(outputs, inputs, bits)
}

/** @param codes row-major [outputs][inputs], each in -2^(bits-1) .. 2^(bits-1)-1 */
export function packWeight(codes: Int8Array, outputs: number, inputs: number, bits: number): Uint8Array {
  return addon.packWeight(codes, outputs, inputs, bits)
}

/** The inverse of {@link packWeight}: row-major [outputs][inputs]. */
export function unpackWeight(packed: Uint8Array, outputs: number, inputs: number, bits: number): Int8Array {
  return addon.unpackWeight(packed, outputs, inputs, bits)
}

/** For each output the sum of its codes. */
export function sumWeight(packed: NativeBlob, outputs: number, inputs: number, bits: number): Int32Array {
  return addon.sumWeight(packed, outputs, inputs, bits)
}

/** Whether the padding of the packed weight is zero, on which kernels count; reads little else of it. */
export function isPadded(packed: NativeBlob, outputs: number, inputs: number, bits: number): boolean {
  return addon.isPadded(packed, outputs, inputs, bits)
}

/** The index of the first value that is not in [low, high], as NaN is not, or -1; a gigabyte takes a few tenths of a second. */
export function firstOutside(values: Float32Array, low: number, high: number): number {
  return addon.firstOutside(values, low, high)
}
