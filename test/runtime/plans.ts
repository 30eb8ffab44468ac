import type { Constant, NativeBlob, Plan, PlanOp, View } from '../../lib/runtime/addon-types.js'
import { allocateBlob, createBlob } from '../../lib/runtime/blobs.js'
import { normals } from '../support/random.js'

/** Small plans written by hand, and the same sums in doubles. */

const F32 = 4

/** A view of floats without gaps, all images one after the other. */
export function floats(space: 'arena' | 'input' | 'output', offset: number, rows: number, width: number): View {
  return { space, offset, rowStride: width * F32, imageStride: rows * width * F32, rows, width }
}

/** Collects constants, one blob each. */
export class Blobs {
  readonly list: NativeBlob[] = []

  constant(values: ArrayLike<number>): Constant {
    const array = Float32Array.from(values)
    return this.add(createBlob(new Uint8Array(array.buffer)))
  }

  zeros(byteLength: number): Constant {
    return this.add(allocateBlob(byteLength))
  }

  private add(blob: NativeBlob): Constant {
    return { blob: this.list.push(blob) - 1, offset: 0 }
  }
}

/** [outputs][inputs] as LinearF32 wants it: panels of 16 outputs, zero padded. */
export function panels(weight: Float32Array, outputs: number, inputs: number): Float32Array {
  const packed = new Float32Array(Math.ceil(outputs / 16) * 16 * inputs)
  for (let o = 0; o < outputs; o++)
    for (let i = 0; i < inputs; i++) packed[(Math.floor(o / 16) * inputs + i) * 16 + (o % 16)] = weight[o * inputs + i]
  return packed
}

const padded = (values: Float32Array): Float32Array => {
  const result = new Float32Array(Math.ceil(values.length / 16) * 16)
  result.set(values)
  return result
}

export interface SmallPlan {
  plan: Plan
  /** What the plan computes for one image. */
  expected(image: Float32Array): Float64Array
}

/**
 * A prefix row from a constant and `rows` rows of a linear layer with positions added, then LayerNorm of all rows. The target of the linear
 * layer lies between the prefix rows, so the executor cannot see it as one matrix; LayerNorm it can.
 */
export function tokensPlan({ batch = 2, rows = 5, inputs = 7, width = 19, seed = 1 } = {}): SmallPlan {
  const normal = (n: number) => normals(seed++, n)
  const [weight, bias, positions] = [normal(width * inputs), normal(width), normal(rows * width)]
  const [prefix, gamma, beta] = [normal(width), normal(width), normal(width)]
  const eps = 1e-5
  const blobs = new Blobs()
  const all = floats('arena', 0, rows + 1, width)
  const body = { ...all, offset: width * F32, rows }
  const position = blobs.constant(positions)
  const first = blobs.constant(prefix)
  const constantView = (c: Constant, count: number): View => ({
    ...{ space: 'blob', blob: c.blob, offset: c.offset, rowStride: width * F32, imageStride: 0, rows: count, width },
  })
  const ops: PlanOp[] = [
    { name: 'prefix', op: 'copyRows', x: constantView(first, 1), y: { ...all, rows: 1 } },
    {
      ...{ name: 'embed', op: 'linearF32', x: floats('input', 0, rows, inputs), y: body, activation: 'none' },
      ...{ weight: blobs.constant(panels(weight, width, inputs)), bias: blobs.constant(padded(bias)) },
      residual: constantView(position, rows),
    },
    {
      ...{ name: 'norm', op: 'layernorm', x: all, y: floats('output', 0, rows + 1, width), eps },
      ...{ gamma: blobs.constant(gamma), beta: blobs.constant(beta) },
    },
  ]
  const bytes = (rows + 1) * width * F32
  const plan: Plan = { batch, arenaBytes: batch * bytes, inputBytes: rows * inputs * F32, outputBytes: bytes, ops, blobs: blobs.list }

  const expected = (image: Float32Array): Float64Array => {
    const result = new Float64Array((rows + 1) * width)
    for (let r = 0; r <= rows; r++) {
      const row = result.subarray(r * width, (r + 1) * width)
      for (let o = 0; o < width; o++) {
        if (r === 0) {
          row[o] = prefix[o]
          continue
        }
        row[o] = bias[o] + positions[(r - 1) * width + o]
        for (let i = 0; i < inputs; i++) row[o] += image[(r - 1) * inputs + i] * weight[o * inputs + i]
      }
      const mean = row.reduce((sum, x) => sum + x, 0) / width
      const deviation = Math.sqrt(row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / width + eps)
      for (let o = 0; o < width; o++) row[o] = ((row[o] - mean) / deviation) * gamma[o] + beta[o]
    }
    return result
  }
  return { plan, expected }
}

/** `layers` square float layers of `width` on `rows` rows: 2 * layers * rows * width^2 operations an image. */
export function heavyPlan({ batch = 1, rows = 64, width = 256, layers = 16 } = {}): Plan {
  const blobs = new Blobs()
  const weight = blobs.zeros(width * width * F32)
  const bias = blobs.zeros(width * F32)
  const bytes = rows * width * F32
  const arena = (i: number) => floats('arena', (i % 2) * batch * bytes, rows, width)
  const ops = Array.from(
    { length: layers },
    (_, i): PlanOp => ({
      ...{ name: `layer${i}`, op: 'linearF32', weight, bias, activation: 'none' },
      x: i === 0 ? floats('input', 0, rows, width) : arena(i),
      y: i === layers - 1 ? floats('output', 0, rows, width) : arena(i + 1),
    }),
  )
  return { batch, arenaBytes: 2 * batch * bytes, inputBytes: bytes, outputBytes: bytes, ops, blobs: blobs.list }
}

/** Input of `images` images of a plan. */
export function randomInput(plan: Plan, images: number, seed = 9): Float32Array {
  return normals(seed, (images * plan.inputBytes) / F32)
}
