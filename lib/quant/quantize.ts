import type { Graph } from '../graph/graph.js'
import type { Scheme } from '../graph/scheme.js'
import type { Unit } from './assemble.js'
import type { Calibration } from './observe.js'
import { type Parts, type Progress, type QuantizedGraph, Search, type Widths } from './search.js'

export type { Progress, QuantizedGraph } from './search.js'

export interface QuantizeGraphOptions extends Parts {
  /** 'partial' (default): operands of matrix products have codes; 'full': all that is stored. */
  coverage?: Scheme['coverage']
  /** The width of every operand (2..8), or of each; the patch embedding keeps 8. */
  bits?: number | ((operand: Unit) => number)
  /** Instead: bound on the average of weights (by parameters) and on that of activations (by elements per image), separately (2..8). */
  averageBits?: number
  /**
   * How an average is spread: 'greedy' by the damage that narrower codes do (default), or 'even', which takes the two nearest widths, the narrower one
   * for the largest operands, without looking at the data and is meant for timing random weights.
   */
  allocation?: 'greedy' | 'even'
  threads?: number
  signal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

/**
 * Post-training quantization of a vision transformer's graph. See docs/architecture.md.
 */
export async function quantizeGraph(float: Graph, calibration: Calibration, options: QuantizeGraphOptions): Promise<QuantizedGraph> {
  const { coverage = 'partial', allocation, bits, averageBits, ...rest } = options
  const even = allocation === 'even'
  const quick = even ? { informed: false, sequential: false, compensate: false } : {}
  const search = await Search.prepare(float, calibration, { ...rest, ...quick, coverage })
  return search.quantize(widthsOf(bits, averageBits, even))
}

function widthsOf(bits: QuantizeGraphOptions['bits'], averageBits: number | undefined, even: boolean): Widths {
  if (averageBits !== undefined) return { averageBits, even }
  if (bits === undefined) throw new TypeError('give bits or averageBits')
  return typeof bits === 'number' ? () => bits : bits
}
