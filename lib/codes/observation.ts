/** What calibration saw of one edge: native/ops/observe.h read back. */
export interface Observation {
  /** Rows seen. */
  count: number
  width: number
  /** Each [width]: per column over all rows. */
  mean: Float64Array
  meanSquare: Float64Array
  min: Float64Array
  max: Float64Array
  /** [sampled rows][width] */
  samples: Float32Array
  /** Where the samples are not spread evenly: how many rows of an image share the predictions (quant/stream-rows). */
  rowsAnImage?: number
  /** Of an edge whose codes have a fine first row: the first row of each image, [images][width]. */
  firstRows?: Float32Array
}

/** The width of the edge whose observer has a state of so many bytes. */
export const observedWidth = (stateBytes: number, sampleRows: number): number => (stateBytes - 8) / (4 * 8 + 4 * sampleRows)

/** @param state samples of the result are a view of it */
export function parseObservation(state: Uint8Array, width: number, sampleRows: number, sampleStride: number): Observation {
  const doubles = new Float64Array(state.buffer, state.byteOffset, 1 + 4 * width)
  const count = doubles[0]
  const part = (i: number) => doubles.slice(1 + i * width, 1 + (i + 1) * width)
  const kept = Math.min(sampleRows, Math.ceil(count / sampleStride))
  const samples = new Float32Array(state.buffer, state.byteOffset + 8 * (1 + 4 * width), kept * width)
  return {
    count,
    width,
    mean: part(0).map((s) => s / count),
    meanSquare: part(1).map((s) => s / count),
    min: part(2),
    max: part(3),
    samples,
  }
}

/** The observation of rows that are all at hand: [rows][width]. */
export function observationOf(samples: Float32Array, width: number): Observation {
  const count = samples.length / width
  const mean = new Float64Array(width)
  const meanSquare = new Float64Array(width)
  const min = new Float64Array(width).fill(Number.POSITIVE_INFINITY)
  const max = new Float64Array(width).fill(Number.NEGATIVE_INFINITY)
  const seen = { count, width, mean, meanSquare, min, max, samples }
  for (let from = 0; from < samples.length; from += width) addRow(seen, samples, from)
  return seen
}

/** Adds one of `count` rows to the statistics, that which begins at `from`. */
export function addRow({ count, width, mean, meanSquare, min, max }: Observation, values: Float32Array, from: number): void {
  for (let c = 0; c < width; c++) {
    const x = values[from + c]
    mean[c] += x / count
    meanSquare[c] += (x * x) / count
    if (x < min[c]) min[c] = x
    if (x > max[c]) max[c] = x
  }
}

/** The first of every n rows, one after another. */
export function everyNthRow(samples: Float32Array, width: number, n: number): Float32Array {
  const rows = Math.ceil(samples.length / width / n)
  const kept = new Float32Array(rows * width)
  for (let t = 0; t < rows; t++) kept.set(samples.subarray(t * n * width, (t * n + 1) * width), t * width)
  return kept
}
