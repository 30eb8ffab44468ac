import addon from '#addon'
import type { NativeBlob } from './addon-types.js'

/**
 * Native memory and the packed order of weights, for the rooms that prepare constants. See addon-types.ts.
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
