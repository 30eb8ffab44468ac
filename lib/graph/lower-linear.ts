import type { PlanOp } from '../runtime/addon-types.js'
import { codedWeightBlob, floatWeightBlob, padOutputs } from './constants.js'
import { stepsOf } from './factors.js'
import type { Format } from './formats.js'
import type { LinearStep, PointwiseStep } from './fusion.js'
import { type Places, rowsOf } from './places.js'
import type { Code, WeightCode } from './scheme.js'

/**
 * Linear layers, and the element by element functions that follow them where nothing could be fused, as ops.
 */

type LinearCodes = Extract<PlanOp, { op: 'linearCodes' }>

export function lowerLinear(places: Places, step: LinearStep, index: number): void {
  const { node, activation, gain, firstRow } = step
  const bias = node.op === 'linear' ? node.bias : null
  const { rows, width } = places.shapeOf(node.output)
  places.reuseResidual(step, index)
  const target = places.target(step.output)
  const common = {
    name: node.name,
    x: places.view(node.input),
    bias: places.columns(bias === null ? null : places.tensor(bias).data, width),
    activation,
    ...(gain !== null && { gain: places.columns(places.tensor(gain).data, width) }),
    ...places.residual(step),
    ...target,
    y: rowsOf(target.y, firstRow, rows),
  }
  const code = places.scheme?.weights.get(node.weight)
  if (!code) {
    const weight = places.pool.share(floatWeightBlob(places.tensor(node.weight), node.op === 'linearGradient'))
    places.ops.push({ op: 'linearF32', ...common, weight })
    return
  }
  const input = places.formatOf(node.input) as Format
  places.ops.push({ op: 'linearCodes', ...common, ...codedWeight(places, code, input), ...preActivation(places, step) })
}

export function lowerPointwise(places: Places, step: PointwiseStep, index: number): void {
  const { node, input, gain, factor, firstRow } = step
  places.reuseResidual(step, index)
  const x = places.view(input)
  const target = places.target(step.output)
  places.ops.push({
    op: 'pointwise',
    name: node.name,
    x,
    function: step.function,
    ...(gain !== null && { gain: places.constant(gain) }),
    ...(factor !== null && { factor: places.view(factor) }),
    ...places.residual(step),
    ...target,
    y: rowsOf(target.y, firstRow, x.rows),
  })
}

/** With full coverage what GELU reads, which is the output of the linear layer itself, is rounded. */
function preActivation(places: Places, { node, activation }: LinearStep): Pick<LinearCodes, 'preActivation' | 'preActivationFactors'> {
  if (places.scheme?.coverage !== 'full' || activation === 'none') return {}
  const code = places.scheme.edges.get(node.output) as Code
  const { step, levels, factors } = code
  const { width } = places.shapeOf(node.output)
  return {
    preActivation: { inverseStep: Math.fround(1 / step), step, low: levels[0], high: levels[levels.length - 1] },
    ...(factors && { preActivationFactors: places.columns(stepsOf({ ...code, step: 1 }, width), width) }),
  }
}

function codedWeight(
  { pool }: Places,
  code: WeightCode,
  input: Format,
): Pick<LinearCodes, 'weight' | 'weightBits' | 'correction' | 'scale'> {
  const { blob, rowSums } = codedWeightBlob(code)
  const scale = padOutputs(code.steps, code.outputs).map((step) => input.code.step * step)
  const correction = new Int32Array(scale.length)
  rowSums.forEach((sum, o) => {
    correction[o] = -input.offset * sum
  })
  return { weight: pool.share(blob), weightBits: code.bits, correction: pool.add(correction), scale: pool.add(scale) }
}
