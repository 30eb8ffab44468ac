import { roundHalfEven } from '../graph/encoder.js'
import { int, type OnnxBuilder } from './builder.js'

/**
 * Linear layers in the three forms that onnxruntime has kernels for.
 */

export interface Linear {
  name: string
  /** The tensor of rows. */
  input: string
  /** The edge of the graph that holds them. */
  edge: string
  outputs: number
  inputs: number
  /** [outputs][inputs] */
  weight: Float32Array
  /** [outputs] */
  bias: Float32Array | null
}

/** Adds the nodes of a linear layer and returns the tensor of its output. */
export type LinearForm = (builder: OnnxBuilder, linear: Linear) => string

/** Of an edge on calibration images. */
export interface Range {
  min: number
  max: number
}

const MOST_INT8 = 127
const MOST_UINT8 = 255

/** MatMul and Add. */
export const floatLinear: LinearForm = (builder, linear) => {
  const { name, input, outputs, inputs, weight } = linear
  const matrix = builder.floats(`${name}.weight`, [inputs, outputs], transpose(weight, outputs, inputs, new Float32Array(weight.length)))
  return addBias(builder, linear, builder.node('MatMul', `${name}.product`, [input, matrix]))
}

/**
 * What onnxruntime's quantize_dynamic writes: the step of the activations comes from the extremes of each run; signed weights, a step a
 * column.
 */
export function dynamicLinear(): LinearForm {
  /** Edges are quantized once for all that read them. */
  const quantized = new Map<string, string[]>()
  return (builder, linear) => {
    const { name, input } = linear
    let x = quantized.get(input)
    if (!x) {
      x = builder.nodeOf('DynamicQuantizeLinear', `${name}.quantize`, [input], {}, ['codes', 'step', 'zero'])
      quantized.set(input, x)
    }
    const [codes, step, zero] = x
    const { weight, steps, zeros } = quantizedWeight(builder, linear)
    const sums = builder.node('MatMulInteger', `${name}.sums`, [codes, weight, zero, zeros])
    const floats = builder.node('Cast', `${name}.cast`, [sums], { to: int(1) })
    const scales = builder.node('Mul', `${name}.steps`, [step, steps])
    return addBias(builder, linear, builder.node('Mul', `${name}.product`, [floats, scales]))
  }
}

/**
 * QuantizeLinear and DequantizeLinear around a float product, which runtimes replace by an integer one: unsigned activations with the
 * calibrated range, signed weights with a step a column.
 *
 * @param rangeOf throws for an edge that was not calibrated
 */
export function qdqLinear(rangeOf: (edge: string) => Range): LinearForm {
  const quantized = new Map<string, string[]>()
  return (builder, linear) => {
    const { name, input, edge } = linear
    let x = quantized.get(input)
    if (!x) {
      const { min, max } = rangeOf(edge)
      const [low, high] = [Math.min(min, 0), Math.max(max, 0)]
      const step = Math.fround((high - low) / MOST_UINT8) || 1
      const zero = Math.min(Math.max(roundHalfEven(-low / step), 0), MOST_UINT8)
      const code = [
        builder.floats(`${name}.input.step`, [], Float32Array.of(step)),
        builder.constant(`${name}.input.zero`, { type: 'uint8', shape: [], data: Uint8Array.of(zero) }),
      ]
      x = [builder.node('QuantizeLinear', `${name}.quantize`, [input, ...code]), ...code]
      quantized.set(input, x)
    }
    const values = builder.node('DequantizeLinear', `${name}.dequantize`, x)
    const { weight, steps, zeros } = quantizedWeight(builder, linear)
    const matrix = builder.node('DequantizeLinear', `${name}.weight.dequantize`, [weight, steps, zeros], { axis: int(1) })
    return addBias(builder, linear, builder.node('MatMul', `${name}.product`, [values, matrix]))
  }
}

function addBias(builder: OnnxBuilder, { name, outputs, bias }: Linear, product: string): string {
  return bias === null ? product : builder.node('Add', name, [product, builder.floats(`${name}.bias`, [outputs], bias)])
}

/** Codes [inputs][outputs] from -127 to 127 with a step for each output, and zeros for their zero points. */
function quantizedWeight(builder: OnnxBuilder, { name, outputs, inputs, weight }: Linear) {
  const steps = new Float32Array(outputs)
  const codes = new Int8Array(weight.length)
  for (let o = 0; o < outputs; o++) {
    let most = 0
    for (let i = 0; i < inputs; i++) most = Math.max(most, Math.abs(weight[o * inputs + i]))
    steps[o] = most / MOST_INT8 || 1
    const scale = 1 / steps[o]
    for (let i = 0; i < inputs; i++) codes[o * inputs + i] = roundHalfEven(weight[o * inputs + i] * scale)
  }
  const data = transpose(codes, outputs, inputs, new Int8Array(codes.length))
  return {
    weight: builder.constant(`${name}.weight`, { type: 'int8', shape: [inputs, outputs], data }),
    steps: builder.floats(`${name}.weight.steps`, [outputs], steps),
    zeros: builder.constant(`${name}.weight.zeros`, { type: 'int8', shape: [outputs], data: new Int8Array(outputs) }),
  }
}

/** [rows][columns] to [columns][rows], in squares that stay in the cache. */
function transpose<Values extends Float32Array | Int8Array>(from: Values, rows: number, columns: number, to: Values): Values {
  const side = 32
  for (let top = 0; top < rows; top += side) {
    for (let left = 0; left < columns; left += side) {
      const [bottom, right] = [Math.min(top + side, rows), Math.min(left + side, columns)]
      for (let r = top; r < bottom; r++) for (let c = left; c < right; c++) to[c * rows + r] = from[r * columns + c]
    }
  }
  return to
}
