import type { View } from '../runtime/addon-types.js'
import { align, planArena } from './arena.js'
import type { Edge } from './graph.js'

/**
 * Edges in the arena. Views are handed out while ops are made; their offsets are final after {@link EdgeMemory.place}.
 */

interface Buffer {
  rows: number
  rowBytes: number
  /** The ops that touch it first and last. */
  first: number
  last: number
  views: View[]
}

export class EdgeMemory {
  private readonly buffers = new Map<string, Buffer>()

  /**
   * A part of an edge for op number `op`. Rows are padded to 64 bytes, so that the whole of the last vector of each can be read.
   *
   * @param edge the stored edge, of shape `stored`
   * @param part the rows and columns from `row` and `column` on
   */
  view(edge: string, stored: Edge, elementBytes: number, part: Edge & { row: number; column: number }, op: number): View {
    let buffer = this.buffers.get(edge)
    if (!buffer) {
      buffer = { rows: stored.rows, rowBytes: align(stored.width * elementBytes), first: op, last: op, views: [] }
      this.buffers.set(edge, buffer)
    }
    buffer.last = op
    const view: View = {
      space: 'arena',
      offset: part.row * buffer.rowBytes + part.column * elementBytes,
      rowStride: buffer.rowBytes,
      imageStride: buffer.rows * buffer.rowBytes,
      rows: part.rows,
      width: part.width,
    }
    buffer.views.push(view)
    return view
  }

  has(edge: string): boolean {
    return this.buffers.has(edge)
  }

  /** From now on `edge` lies where `existing` lay, which is not read any more. Both have the same shape and element. */
  reuse(edge: string, existing: string): void {
    this.buffers.set(edge, this.buffers.get(existing) as Buffer)
  }

  /** @returns the bytes of the arena for `batch` images */
  place(batch: number): number {
    const buffers = [...new Set(this.buffers.values())]
    const { offsets, bytes } = planArena(
      buffers.map(({ rows, rowBytes, first, last }) => ({ bytes: batch * rows * rowBytes, first, last })),
    )
    buffers.forEach(({ views }, i) => {
      for (const view of views) view.offset += offsets[i]
    })
    return bytes
  }
}
