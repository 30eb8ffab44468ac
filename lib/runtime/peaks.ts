import { setImmediate as nextTurn } from 'node:timers/promises'
import addon from '#addon'
import type { NativePath } from './addon-types.js'

/**
 * What this machine can do at most, measured on the spot: about a tenth of a second.
 */
export interface Peaks {
  /** Operations a second on codes and on floats, a multiply-add counts two. */
  int8: number
  floats: number
  /** Bytes a second that reading buffers of these sizes over and over gives, smallest first. */
  reads: { bytes: number; speed: number }[]
}

const FIRST_LEVEL = 1 << 14
const GROWTH = 4

/**
 * Of one core; `threads` cores do that many times as much, as far as memory lets them.
 *
 * @param bytes of buffers whose reading is measured, beside smaller ones
 */
export async function measurePeaks(path: NativePath['name'], bytes: number[]): Promise<Peaks> {
  const { int8, floats } = addon.measurePeaks(path)
  const sizes = new Set(bytes.map((size) => Math.max(FIRST_LEVEL, size)))
  for (let size = FIRST_LEVEL; size < Math.max(...bytes); size *= GROWTH) sizes.add(size)
  const reads: Peaks['reads'] = []
  for (const size of [...sizes].sort((a, b) => a - b)) {
    await nextTurn()
    reads.push({ bytes: size, speed: addon.measureReadSpeed(size) })
  }
  return { int8, floats, reads }
}

/** The speed at which as many bytes are read again that were touched so many bytes ago. */
export function readSpeed({ reads }: Peaks, bytes: number): number {
  return (reads.find((read) => read.bytes >= bytes) ?? reads[reads.length - 1]).speed
}
