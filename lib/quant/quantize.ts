import type { Graph } from '../graph/graph.js'
import type { Scheme } from '../graph/scheme.js'
import type { Unit } from './assemble.js'
import type { Calibration } from './observe.js'
import { type Parts, type Progress, type QuantizedGraph, Search, type SearchOptions, type Widths } from './search.js'

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
  const { coverage = 'partial', bits, averageBits, ...rest } = options
  const search = await prepareSearch(float, calibration, { ...rest, coverage })
  return search.quantize(widthsOf(bits, averageBits, options.allocation === 'even'))
}

/** What is there to measure before widths are chosen; for widths that do not look at the data, only what codes need. */
export function prepareSearch(
  float: Graph,
  calibration: Calibration,
  { allocation, ...options }: SearchOptions & Pick<QuantizeGraphOptions, 'allocation'>,
): Promise<Search> {
  const quick = allocation === 'even' ? { informed: false, sequential: false, compensate: false } : {}
  return Search.prepare(float, calibration, { ...options, ...quick })
}

function widthsOf(bits: QuantizeGraphOptions['bits'], averageBits: number | undefined, even: boolean): Widths {
  if (averageBits !== undefined) return { averageBits, even }
  if (bits === undefined) throw new TypeError('give bits or averageBits')
  return typeof bits === 'number' ? () => bits : bits
}
