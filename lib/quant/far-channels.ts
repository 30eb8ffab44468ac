import type { Observation } from '../codes/observation.js'

/**
 * Far channels of a residual stream. Some trained models have tokens of which one channel is hundreds of times as large as anything else. All these tokens point in about
 * the same direction, of which that channel is most and not all: where it reaches 580, others reach 24 in the same tokens, 5 in the rest. A step
 * for these others would have to serve both. Turned so that the whole direction is the far channel, they reach 4 and 5. This is our definition.
 */

/** A channel is far when it reaches so many times as far as the one in the middle, in any edge of the stream. */
const FAR = 16

/**
 * @param seen of the edges of a stream; a row of an edge may hold several rows of so many channels
 * @returns by far channel j the sum of x_j x over the sampled rows x: rows that are large in j decide it
 */
export function farDirections(seen: Pick<Observation, 'min' | 'max' | 'samples'>[], channels: number): Map<number, Float64Array> {
  const directions = new Map<number, Float64Array>()
  for (const { min, max } of seen) {
    const reaches = Array.from(max, (x, j) => Math.max(x, -min[j]))
    const middle = [...reaches].sort((a, b) => a - b)[reaches.length >> 1]
    reaches.forEach((reach, j) => {
      if (reach > FAR * middle) directions.set(j % channels, new Float64Array(channels))
    })
  }
  for (const { samples } of seen) {
    for (const [j, direction] of directions) {
      for (let from = 0; from < samples.length; from += channels) {
        for (let k = 0; k < channels; k++) direction[k] += samples[from + j] * samples[from + k]
      }
    }
  }
  return directions
}

/**
 * Vectors v whose reflections H = I - 2 v v^T / |v|^2, one after another, turn each direction into its channel and keep the vector of ones and the channels before: with
 * a and b the unit vectors along what direction and channel have beside these, v = a - b, so that a H = b and, as lengths are kept, b H = a. v is 0 where nothing is to be turned.
 */
export function mirrorsOf(directions: Map<number, Float64Array>): Float64Array[] {
  const mirrors: Float64Array[] = []
  const kept: Float64Array[] = []
  for (const [channel, direction] of directions) {
    const turned = direction.slice()
    for (const mirror of mirrors) reflect(turned, mirror)
    const unit = direction.map((_, k) => (k === channel ? 1 : 0))
    if (kept.length === 0) kept.push(direction.map(() => direction.length ** -0.5))
    for (const other of kept) for (const vector of [turned, unit]) addTo(vector, other, -dot(vector, other))
    const [a, b] = [turned, unit].map((vector) => vector.map((x) => x / Math.sqrt(dot(vector, vector))))
    const both = [...a, ...b].every(Number.isFinite)
    mirrors.push(a.map((x, k) => (both ? x - b[k] : 0)))
    if (both) kept.push(b)
  }
  return mirrors
}

/** row <- row (I - 2 v v^T / |v|^2), or as it is where v is 0. */
export function reflect(row: Float32Array | Float64Array, v: Float64Array): void {
  const square = dot(v, v)
  if (square > 0) addTo(row, v, (-2 * dot(row, v)) / square)
}

function addTo(x: Float32Array | Float64Array, y: Float64Array, factor: number): void {
  for (let k = 0; k < x.length; k++) x[k] += factor * y[k]
}

function dot(x: Float32Array | Float64Array, y: Float64Array): number {
  let sum = 0
  for (let k = 0; k < x.length; k++) sum += x[k] * y[k]
  return sum
}
