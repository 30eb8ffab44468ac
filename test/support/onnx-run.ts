import type { OnnxFile, OnnxNode } from './onnx-file.js'

/**
 * Runs .onnx files in doubles, as ONNX's operator documents say, one element after the other: only for small models.
 */

export interface Values {
  shape: number[]
  data: Float64Array
}

const size = (shape: number[]): number => shape.reduce((a, b) => a * b, 1)

const values = (shape: number[], at: (index: number[], i: number) => number): Values => {
  const data = new Float64Array(size(shape))
  const index = shape.map(() => 0)
  for (let i = 0; i < data.length; i++) {
    data[i] = at(index, i)
    for (let d = shape.length - 1; d >= 0 && ++index[d] === shape[d]; d--) index[d] = 0
  }
  return { shape, data }
}

/** The element at an index, whose last dimensions are those of `x`; those of size 1 are repeated. */
const element = ({ shape, data }: Values, index: number[]): number => {
  let offset = 0
  shape.forEach((extent, d) => {
    offset = offset * extent + (extent === 1 ? 0 : index[index.length - shape.length + d])
  })
  return data[offset]
}

const broadcast = (a: number[], b: number[]): number[] => {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, d) => Math.max(a[a.length - rank + d] ?? 1, b[b.length - rank + d] ?? 1))
}

const pairwise = (a: Values, b: Values, f: (x: number, y: number) => number): Values =>
  values(broadcast(a.shape, b.shape), (index) => f(element(a, index), element(b, index)))

/** Half to even. */
const round = (x: number): number => {
  const floor = Math.floor(x)
  return x - floor === 0.5 ? floor + (floor & 1) : Math.floor(x + 0.5)
}

/** By its series, to the last digits for |x| < 4. */
function erf(x: number): number {
  if (Math.abs(x) > 4) return Math.sign(x)
  let [sum, term] = [x, x]
  for (let n = 1; n < 120; n++) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

const scalar = (x: number): Values => ({ shape: [], data: Float64Array.of(x) })

type Attributes = OnnxNode['attributes']
const OPS: Record<string, (inputs: Values[], attributes: Attributes) => Values | Values[]> = {
  Add: ([a, b]) => pairwise(a, b, (x, y) => x + y),
  Mul: ([a, b]) => pairwise(a, b, (x, y) => x * y),
  Div: ([a, b]) => pairwise(a, b, (x, y) => x / y),
  Erf: ([x]) => values(x.shape, (_, i) => erf(x.data[i])),
  Cast: ([x]) => x,
  Reshape: ([x, to]) => {
    const known = [...to.data].reduce((product, extent) => (extent < 0 ? product : product * extent), 1)
    return { shape: [...to.data].map((extent) => (extent < 0 ? x.data.length / known : extent)), data: x.data }
  },
  Transpose: ([x], { perm }) => {
    const order = perm as number[]
    const from = order.map((_, d) => order.indexOf(d))
    return values(
      order.map((d) => x.shape[d]),
      (index) =>
        element(
          x,
          from.map((d) => index[d]),
        ),
    )
  },
  Pad: ([x, pads]) => {
    const rank = x.shape.length
    const shape = x.shape.map((extent, d) => pads.data[d] + extent + pads.data[rank + d])
    return values(shape, (index) => {
      const inside = index.map((i, d) => i - pads.data[d])
      return inside.every((i, d) => i >= 0 && i < x.shape[d]) ? element(x, inside) : 0
    })
  },
  Slice: ([x, starts, ends, axes]) => {
    const first = x.shape.map(() => 0)
    const shape = [...x.shape]
    axes.data.forEach((axis, i) => {
      first[axis] = starts.data[i]
      shape[axis] = ends.data[i] - starts.data[i]
    })
    return values(shape, (index) =>
      element(
        x,
        index.map((i, d) => i + first[d]),
      ),
    )
  },
  Gather: ([x, rows], { axis }) => {
    const shape = x.shape.map((extent, d) => (d === axis ? rows.data.length : extent))
    return values(shape, (index) =>
      element(
        x,
        index.map((i, d) => (d === axis ? rows.data[i] : i)),
      ),
    )
  },
  Split: ([x, widths], { axis }) => {
    let first = 0
    return [...widths.data].map((width) => {
      const [, from, to] = [0, first, (first += width)]
      return OPS.Slice([x, scalar(from), scalar(to), scalar(axis as number)], {}) as Values
    })
  },
  ReduceMean: ([x], { axes }) => {
    const [axis] = axes as number[]
    const extent = x.shape[axis]
    return values(
      x.shape.map((each, d) => (d === axis ? 1 : each)),
      (index) => {
        let sum = 0
        for (let i = 0; i < extent; i++) sum += element(x, index.with(axis, i))
        return sum / extent
      },
    )
  },
  MatMul: ([a, b]) => product(a, b, 0, () => 0),
  MatMulInteger: ([a, b, zeroA, zeroB]) => product(a, b, zeroA.data[0], (column) => zeroB.data[zeroB.data.length > 1 ? column : 0]),
  Softmax: ([x]) =>
    rows(x, (row) => {
      const most = Math.max(...row)
      const exps = row.map((value) => Math.exp(value - most))
      const sum = exps.reduce((a, b) => a + b)
      return exps.map((value) => value / sum)
    }),
  LayerNormalization: ([x, gamma, beta], { epsilon }) =>
    rows(x, (row) => {
      const mean = row.reduce((a, b) => a + b) / row.length
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length
      return row.map((value, i) => ((value - mean) / Math.sqrt(variance + (epsilon as number))) * gamma.data[i] + beta.data[i])
    }),
  Conv: ([x, weight, bias], { strides }) => {
    const [outputs, channels, height, width] = weight.shape
    const [down, right] = strides as number[]
    const shape = [x.shape[0], outputs, 1 + Math.floor((x.shape[2] - height) / down), 1 + Math.floor((x.shape[3] - width) / right)]
    return values(shape, ([image, output, top, left]) => {
      let sum = bias.data[output]
      for (let c = 0; c < channels; c++) {
        for (let i = 0; i < height; i++) {
          for (let j = 0; j < width; j++) {
            sum += element(x, [image, c, top * down + i, left * right + j]) * element(weight, [output, c, i, j])
          }
        }
      }
      return sum
    })
  },
  QuantizeLinear: ([x, step, zero]) => values(x.shape, (_, i) => quantized(x.data[i], step.data[0], zero.data[0])),
  DequantizeLinear: ([x, step, zero], { axis = 0 }) =>
    values(x.shape, (index, i) => {
      const part = step.data.length > 1 ? index[axis as number] : 0
      return (x.data[i] - zero.data[part]) * step.data[part]
    }),
  DynamicQuantizeLinear: ([x]) => {
    const [low, high] = [Math.min(0, ...x.data), Math.max(0, ...x.data)]
    const step = (high - low) / 255
    const zero = Math.min(Math.max(round(-low / step), 0), 255)
    return [values(x.shape, (_, i) => quantized(x.data[i], step, zero)), scalar(step), scalar(zero)]
  },
}

const quantized = (x: number, step: number, zero: number): number => Math.min(Math.max(round(x / step) + zero, 0), 255)

const rows = (x: Values, f: (row: Float64Array) => Float64Array): Values => {
  const width = x.shape[x.shape.length - 1]
  const data = new Float64Array(x.data.length)
  for (let i = 0; i < data.length; i += width) data.set(f(x.data.slice(i, i + width)), i)
  return { shape: x.shape, data }
}

function product(a: Values, b: Values, zeroA: number, zeroOf: (column: number) => number): Values {
  const inner = a.shape[a.shape.length - 1]
  const outer = broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2))
  const shape = [...outer, a.shape[a.shape.length - 2], b.shape[b.shape.length - 1]]
  return values(shape, (index) => {
    const [row, column] = index.slice(-2)
    const batch = index.slice(0, -2)
    let sum = 0
    for (let i = 0; i < inner; i++) sum += (element(a, [...batch, row, i]) - zeroA) * (element(b, [...batch, i, column]) - zeroOf(column))
    return sum
  })
}

/** Constants are floats (1), uint8 (2), int8 (3) and int64 (7). */
function constantOf({ type, shape, raw }: OnnxFile['constants'][number]): Values {
  const data = { 1: Float32Array, 2: Uint8Array, 3: Int8Array, 7: BigInt64Array }[type]
  if (!data) throw new Error(`data type ${type}`)
  return { shape, data: Float64Array.from(new data(raw.buffer as ArrayBuffer) as ArrayLike<number | bigint>, Number) }
}

/** @returns every tensor by its name */
export function runOnnx({ nodes, constants, inputs }: OnnxFile, input: Values): Map<string, Values> {
  const tensors = new Map<string, Values>([[inputs[0].name, input], ...constants.map((each) => [each.name, constantOf(each)] as const)])
  for (const { op, inputs, outputs, attributes } of nodes) {
    const run = OPS[op]
    if (!run) throw new Error(`${op} is not known here`)
    const read = inputs.map((name) => {
      const found = tensors.get(name)
      if (!found) throw new Error(`${outputs[0]} reads ${name}, which nothing before it writes`)
      return found
    })
    for (const [i, output] of [run(read, attributes)].flat().entries()) {
      if (tensors.has(outputs[i])) throw new Error(`${outputs[i]} is written twice`)
      tensors.set(outputs[i], output)
    }
  }
  return tensors
}
