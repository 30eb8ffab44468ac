/**
 * Memory planning: buffers with known lifetimes share one arena.
 */

/** Offsets and sizes are multiples of this: a cache line and a 512-bit vector. */
export const ALIGNMENT = 64

export interface Lifetime {
  bytes: number
  /** The first and the last step that touch the buffer, both inclusive. */
  first: number
  last: number
}

export interface Arena {
  /** Where each buffer starts, in the order in which they were given; multiples of {@link ALIGNMENT}. */
  offsets: number[]
  bytes: number
}

export const align = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT

/** Greedy first fit, the largest buffer first: no two buffers that live at the same step overlap. */
export function planArena(buffers: Lifetime[]): Arena {
  const offsets = buffers.map(() => 0)
  const order = buffers.map((_, i) => i).sort((a, b) => buffers[b].bytes - buffers[a].bytes || a - b)
  const placed: number[] = []
  let bytes = 0
  for (const index of order) {
    const { first, last, bytes: size } = buffers[index]
    const neighbours = placed
      .filter((other) => buffers[other].first <= last && first <= buffers[other].last)
      .sort((a, b) => offsets[a] - offsets[b])
    let offset = 0
    for (const other of neighbours) {
      if (offset + align(size) <= offsets[other]) break
      offset = Math.max(offset, offsets[other] + align(buffers[other].bytes))
    }
    offsets[index] = offset
    placed.push(index)
    bytes = Math.max(bytes, offset + align(size))
  }
  return { offsets, bytes }
}
