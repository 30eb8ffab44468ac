import type { Edge, NodeOf, Windows } from './graph.js'

/**
 * Index tables of what moves rows of a map around: attention in shifted windows, and patch merging. A map of height x width lies row by
 * row.
 */

export type AttentionNode = NodeOf<'attention'> | NodeOf<'attentionGradient'>

/** [heads] */
export const scalesOf = ({ heads, scale }: AttentionNode): number[] => (typeof scale === 'number' ? Array(heads).fill(scale) : scale)

/** How many windows an attention node has, and how many tokens attend to each other in one. */
export function windowsOf({ windows }: AttentionNode, { rows }: Pick<Edge, 'rows'>): { count: number; tokens: number } {
  const tokens = windows ? windows.window[0] * windows.window[1] : rows
  return { count: rows / tokens, tokens }
}

/** The shape of what softmax gives: rows [windows][heads][tokens] of `tokens`. */
export function probabilitiesShape(node: AttentionNode, output: Pick<Edge, 'rows'>): Edge {
  return { rows: node.heads * output.rows, width: windowsOf(node, output).tokens }
}

/** [windows][tokens]: the row of each token, when a map is rolled up and left by the shift and then cut into windows, row by row. */
export function windowRows({ map: [height, width], window, shift }: Windows): Int32Array {
  const rows = new Int32Array(height * width)
  let next = 0
  for (const [y, x] of positionsInWindows(height, width, window)) {
    rows[next++] = ((y + shift[0]) % height) * width + ((x + shift[1]) % width)
  }
  return rows
}

/**
 * [windows][tokens]: parts of a window that were not neighbours before the map was rolled have different numbers; null without a shift. The
 * last `shift` rows and columns of the rolled map come from the other side.
 */
export function windowRegions({ map: [height, width], window, shift }: Windows): Uint8Array | null {
  if (shift[0] === 0 && shift[1] === 0) return null
  const regions = new Uint8Array(height * width)
  let next = 0
  for (const [y, x] of positionsInWindows(height, width, window)) {
    regions[next++] = 2 * Number(y >= height - shift[0]) + Number(x >= width - shift[1])
  }
  return regions
}

function* positionsInWindows(height: number, width: number, [windowHeight, windowWidth]: [number, number]): Generator<[number, number]> {
  for (let top = 0; top < height; top += windowHeight) {
    for (let left = 0; left < width; left += windowWidth) {
      for (let y = top; y < top + windowHeight; y++) for (let x = left; x < left + windowWidth; x++) yield [y, x]
    }
  }
}

/**
 * The inverse of {@link mergeRows}: for each row of the map the element with which its part of a merged row begins.
 *
 * @param columns of a row of the map
 * @param stride elements from one merged row to the next
 */
export function unmergeElements(height: number, width: number, columns: number, stride: number): Int32Array {
  const elements = new Int32Array(height * width)
  mergeRows(height, width).forEach((row, i) => {
    if (row >= 0) elements[row] = Math.floor(i / MERGED) * stride + (i % MERGED) * columns
  })
  return elements
}

/** How many rows a merged row consists of. */
export const MERGED = 4

/**
 * [rows][4]: the neighbours that a merged row consists of: upper left, lower left, upper right, lower right; -1 where the map has ended.
 */
export function mergeRows(height: number, width: number): Int32Array {
  const rows: number[] = []
  for (let y = 0; y < height; y += 2) {
    for (let x = 0; x < width; x += 2) {
      for (const right of [x, x + 1]) {
        for (const below of [y, y + 1]) rows.push(below < height && right < width ? below * width + right : -1)
      }
    }
  }
  return Int32Array.from(rows)
}
