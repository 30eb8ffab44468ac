import type { Observation } from '../codes/observation.js'

/**
 * Far channels of a residual stream. Some trained models have tokens of which one channel is hundreds of times as large as anything else.
 * All these tokens point in about the same direction, of which that channel is most and not all: where it reaches 580, others reach 24 in
 * the same tokens, 7 in the rest. A step for these others would have to serve both. Turned so that the whole direction is the far channel,
 * they reach 5 and 7. This is our definition.
 */

/** A channel is far when it reaches so many times as far as the one in the middle, in any edge of the stream. */
const FAR = 16

/** What is left of a vector beside others is nothing when its square is this part of the whole: rounding leaves as much. */
const NOTHING_LEFT = 1e-12

/**
 * @param seen of the edges of a stream; a row of an edge may hold several rows of so many channels
 * @returns by far channel j the sum of x_j x over those of the sampled rows x that are far in j; 0 where none was sampled
 */
export function farDirections(seen: Pick<Observation, 'min' | 'max' | 'samples'>[], channels: number): Map<number, Float64Array> {
  const directions = new Map<number, Float64Array>()
  for (const { min, max, samples } of seen) {
    const reaches = Array.from(max, (x, j) => Math.max(x, -min[j]))
    const far = FAR * [...reaches].sort((a, b) => a - b)[reaches.length >> 1]
    for (let j = 0; j < reaches.length && far > 0; j++) {
      if (reaches[j] <= far) continue
      const direction = directions.get(j % channels) ?? new Float64Array(channels)
      directions.set(j % channels, direction)
      for (let at = j; at < samples.length; at += reaches.length) {
        if (Math.abs(samples[at]) > far)
          addTo(direction, samples.subarray(at - (j % channels), at - (j % channels) + channels), samples[at])
      }
    }
  }
  return directions
}

/**
 * Vectors v whose reflections H = I - 2 v v^T / |v|^2, one after another, turn each direction into its channel and keep the vector of ones
 * and the channels before: with a and b the unit vectors along what direction and channel have beside these, v = a - b, so that a H = b
 * and, as lengths are kept, b H = a. v is 0 where nothing is to be turned.
 */
export function mirrorsOf(directions: Map<number, Float64Array>): Float64Array[] {
  const mirrors: Float64Array[] = []
  const kept: Float64Array[] = []
  for (const [channel, direction] of directions) {
    if (kept.length === 0) kept.push(direction.map(() => direction.length ** -0.5))
    const turned = direction.slice()
    for (const mirror of mirrors) reflect(turned, mirror)
    const b = unitBeside(
      direction.map((_, k) => (k === channel ? 1 : 0)),
      kept,
    )
    const a = unitBeside(turned, kept)
    const v = a.map((x, k) => x - b[k])
    mirrors.push(dot(a, a) > 0 && dot(b, b) > 0 && dot(v, v) > NOTHING_LEFT ? v : v.fill(0))
    if (dot(b, b) > 0) kept.push(b)
  }
  return mirrors
}

/** The unit vector along what a vector has beside orthonormal ones, or 0 where that is nothing. */
function unitBeside(vector: Float64Array, others: Float64Array[]): Float64Array {
  const rest = vector.slice()
  // Twice, because the first time leaves the rounding of what may be much longer.
  for (const other of [...others, ...others]) addTo(rest, other, -dot(rest, other))
  const [left, all] = [dot(rest, rest), dot(vector, vector)]
  return left > NOTHING_LEFT * all ? rest.map((x) => x / Math.sqrt(left)) : rest.fill(0)
}

/** row <- row (I - 2 v v^T / |v|^2), or as it is where v is 0. */
export function reflect(row: Float32Array | Float64Array, v: Float64Array): void {
  const square = dot(v, v)
  if (square > 0) addTo(row, v, (-2 * dot(row, v)) / square)
}

function addTo(x: Float32Array | Float64Array, y: Float32Array | Float64Array, factor: number): void {
  for (let k = 0; k < x.length; k++) x[k] += factor * y[k]
}

function dot(x: Float32Array | Float64Array, y: Float64Array): number {
  let sum = 0
  for (let k = 0; k < x.length; k++) sum += x[k] * y[k]
  return sum
}
