import { encodeRows } from './encoder.js'
import { shiftsOf } from './factors.js'
import type { LayerNormGradientStep, Step } from './fusion.js'
import type { NodeOf } from './graph.js'
import { FLOAT_BYTES, type Places, rowsOf } from './places.js'
import { mergeRows, unmergeElements } from './windows.js'

/**
 * What works row by row as ops: patches, LayerNorm, means, and copies of rows.
 */

const LARGEST_FLOAT = (2 - 2 ** -23) * 2 ** 127

type StepOf<Op extends Step['op']> = Extract<Step, { op: Op }>

export function lowerPatchify(places: Places, { node, output }: StepOf<'patchify'>): void {
  const { name, input, channels, patchHeight, patchWidth } = node
  const x = places.view(input)
  places.ops.push({ op: 'patchify', name, x, ...places.target(output), channels, patchHeight, patchWidth })
}

/** The constant rows in front of the tokens. */
export function lowerPrefix(places: Places, { node, output }: StepOf<'prefix'>): void {
  const { shape, data } = places.tensor(node.prefix)
  const format = places.formatOf(output)
  const rows = format ? encodeRows(format.code, format.offset, data, shape[1]) : data
  const x = places.pool.addRows({ shape, data: rows })
  const y = rowsOf(places.place(output), 0, x.rows)
  places.ops.push({ op: 'copyRows', name: node.name, x, y, ...(format && { codes: true }) })
}

export function lowerLayerNorm(places: Places, { name, input, output, gamma, beta, eps }: NodeOf<'layernorm'>): void {
  const constants = { gamma: places.constant(gamma), beta: places.constant(beta) }
  const common = { name, x: places.view(input), ...places.target(output), ...constants }
  const format = places.formatOf(input)
  if (!format) {
    places.ops.push({ op: 'layernorm', ...common, eps: Math.fround(eps) })
    return
  }
  const { width } = places.shapeOf(input)
  const shifts = shiftsOf(format.code, width)
  const scaled = Math.fround(Math.min((width ** 2 * eps) / format.code.step ** 2, LARGEST_FLOAT))
  places.ops.push({
    ...{ op: 'layernormCodes', ...common, offset: format.offset, eps: scaled },
    ...(shifts && { shift: places.pool.add(shifts) }),
  })
}

export function lowerLayerNormGradient(places: Places, step: LayerNormGradientStep, index: number): void {
  places.reuseResidual(step, index)
  const { name, input, gradient, eps } = step.node
  const gamma = places.constant(step.node.gamma)
  const operands = { x: places.view(input), gradient: places.view(gradient), ...places.residual(step) }
  places.ops.push({ op: 'layernormGradient', name, ...operands, ...places.target(step.output), gamma, eps: Math.fround(eps) })
}

/** What reads rows as they are stored: floats, or codes. */
export function lowerMean(places: Places, { node, output }: StepOf<'mean'>): void {
  const { name, input } = node
  const format = places.formatOf(input)
  const x = places.view(input)
  const target = places.target(output)
  const decode = format && { offset: format.offset, scale: Math.fround(format.code.step / x.rows) }
  places.ops.push({ op: 'mean', name, x, ...target, ...(decode && { decode }) })
}

/** The same. */
export function lowerMerge(places: Places, { node, output }: StepOf<'merge'>): void {
  const { name, input, height, width } = node
  const format = places.formatOf(input)
  const x = places.view(input)
  const { y } = places.target(output)
  const elementBytes = format ? 1 : FLOAT_BYTES
  places.ops.push({ op: 'gather', name, x, y, elementBytes, zero: format?.offset ?? 0, rows: mergeRows(height, width) })
}

/** What only moves rows of gradients. */
export function lowerCopies(places: Places, { node, output }: StepOf<'place' | 'repeat' | 'unmerge'>): void {
  const { name, input } = node
  const { ops } = places
  const { y } = places.target(output)
  if (node.op === 'repeat') {
    ops.push({ op: 'copyRows', name, x: Object.assign(places.view(input), { rowStride: 0, rows: y.rows }), y })
  } else if (node.op === 'place') {
    const zeros = places.pool.addRows({ shape: [1, y.width], data: new Float32Array(y.width) })
    ops.push({ op: 'copyRows', name, x: Object.assign(zeros, { rowStride: 0, rows: y.rows }), y })
    const x = places.view(input)
    ops.push({ op: 'copyRows', name, x, y: rowsOf(places.target(output).y, node.row, x.rows) })
  } else {
    // The parts of merged rows as rows that may begin at every element.
    const x = places.view(input)
    const stride = x.rowStride / FLOAT_BYTES
    const rows = unmergeElements(node.height, node.width, y.width, stride)
    Object.assign(x, { rows: (x.rows - 1) * stride + x.width - y.width + 1, rowStride: FLOAT_BYTES, width: y.width })
    ops.push({ op: 'gather', name, x, y, elementBytes: FLOAT_BYTES, zero: 0, rows })
  }
}
