import type { Plan, PlanOp, View } from '../runtime/addon-types.js'
import { packedBytes } from '../runtime/blobs.js'

/**
 * What the ops of a plan have to do at least: operations as the peaks of a processor count them, and bytes as if every byte were moved
 * once.
 *
 * A multiply-add is two operations, and so is any other instruction, which takes as long: what is counted is the time of the units. Counts
 * an element stand for the vector code of native/cpu, which follows the contracts of native/ops operation by operation.
 */
export interface Work {
  /** Products of codes and their sums. */
  int8: number
  /** On floats. */
  floats: number
  /** Read and written between ops. */
  activationBytes: number
  /** Of images: read once a run. */
  inputBytes: number
  /** Weights, steps and biases: read once a pass. */
  weightBytes: number
}

const FLOAT_BYTES = 4
/** Outputs of a float weight are padded to whole panels of so many. */
const PANEL = 16

/** Times the step, both bounds, to an integer, into place. */
const ENCODE = 10
/** Maximum, argument reduction, a polynomial of degree 6, into the exponent. */
const EXP = 26
/** Segment, four look-ups in a table of 32, a cubic, the positive part. */
const GELU = 30
/** To a float, minus the offset, times the scale plus the bias. */
const DECODE = 6
/** Sum, sum of squares, and normalisation. */
const LAYERNORM = 14

/** Of a pass, which is `plan.batch` images. */
export function workOf(op: PlanOp, { batch }: Pick<Plan, 'batch'>): Work {
  const { int8, floats, activations, inputs = 0, weights } = countsOf(op)
  return {
    int8: batch * int8,
    floats: batch * floats,
    activationBytes: batch * activations,
    inputBytes: batch * inputs,
    weightBytes: weights,
  }
}

interface Counts {
  int8: number
  floats: number
  activations: number
  inputs?: number
  weights: number
}

/** Of an image, but for the weights. */
function countsOf(op: PlanOp): Counts {
  switch (op.op) {
    case 'linearCodes': {
      const products = 2 * op.y.rows * op.x.width * op.y.width
      const weights = packedBytes(op.y.width, op.x.width, op.weightBits)
      return { int8: products, floats: elements(op.y) * (DECODE + epilogue(op)), ...linearBytes(op, 1, weights) }
    }
    case 'linearF32': {
      const products = 2 * op.y.rows * op.x.width * op.y.width
      const weights = FLOAT_BYTES * op.x.width * PANEL * Math.ceil(op.y.width / PANEL)
      return { int8: 0, floats: products + elements(op.y) * epilogue(op), ...linearBytes(op, FLOAT_BYTES, weights) }
    }
    case 'attentionCodes': {
      const pairs = (op.q.rows * op.q.rows * op.heads) / (op.windows?.count ?? 1)
      const products = (4 * pairs * op.q.width) / op.heads
      // Maximum, difference, exp, sum, quotient.
      const floats = pairs * (DECODE + 2 + EXP + 2 + ENCODE) + elements(op.y) * (2 + ENCODE)
      return { int8: products, floats, activations: elements(op.q, op.k, op.v, op.y), weights: biasBytes(op, pairs) }
    }
    case 'attentionF32': {
      const pairs = (op.q.rows * op.q.rows * op.heads) / (op.windows?.count ?? 1)
      const floats = (4 * pairs * op.q.width) / op.heads + pairs * (6 + EXP)
      return { int8: 0, floats, activations: FLOAT_BYTES * elements(op.q, op.k, op.v, op.y), weights: biasBytes(op, pairs) }
    }
    case 'layernorm':
      return streamed(op, FLOAT_BYTES, LAYERNORM)
    case 'layernormCodes':
      return streamed(op, 1, LAYERNORM + DECODE)
    case 'pointwise': {
      const counts = streamed(op, FLOAT_BYTES, op.function === 'identity' ? 0 : GELU)
      const more = [op.residual, op.factor].filter((view) => view !== undefined)
      return { ...counts, activations: counts.activations + FLOAT_BYTES * elements(...more) }
    }
    case 'mean':
      return streamed(op, op.decode ? 1 : FLOAT_BYTES, 2)
    case 'patchify':
      return { ...streamed(op, 0, 0), inputs: FLOAT_BYTES * elements(op.x) }
    case 'gather':
      return { int8: 0, floats: 0, activations: 2 * op.elementBytes * elements(op.y), weights: 0 }
    case 'copyRows':
      return { int8: 0, floats: 0, activations: 2 * (op.codes ? 1 : FLOAT_BYTES) * elements(op.y), weights: 0 }
    default:
      throw new Error(`${op.name}: the work of ${op.op} is not counted`)
  }
}

const elements = (...views: View[]): number => views.reduce((sum, { rows, width }) => sum + rows * width, 0)

/** Operations an element behind a product. */
function epilogue(op: Extract<PlanOp, { op: 'linearCodes' | 'linearF32' }>): number {
  const coded = op.op === 'linearCodes' && op.encode ? ENCODE : 0
  return coded + (op.activation === 'gelu' ? GELU : 0) + (op.gain ? 2 : 0) + (op.residual ? 2 : 0)
}

function linearBytes(op: Extract<PlanOp, { op: 'linearCodes' | 'linearF32' }>, inputBytes: number, weights: number) {
  const coded = op.op === 'linearCodes' && op.encode
  const residual = op.residual?.space === 'arena' ? [op.residual] : []
  const residualBytes = op.op === 'linearCodes' && op.residualCode ? 1 : FLOAT_BYTES
  return {
    activations: inputBytes * elements(op.x) + (coded ? 1 : FLOAT_BYTES) * elements(op.y) + residualBytes * elements(...residual),
    weights: weights + 3 * FLOAT_BYTES * op.y.width,
  }
}

const biasBytes = ({ windows }: { windows?: { count: number; bias?: unknown } }, pairs: number): number =>
  windows?.bias ? (FLOAT_BYTES * pairs) / windows.count : 0

function streamed(op: Extract<PlanOp, { x: View; y: View }> & { encode?: unknown }, inputBytes: number, operations: number): Counts {
  return {
    int8: 0,
    floats: elements(op.x) * operations + (op.encode ? ENCODE * elements(op.y) : 0),
    activations: inputBytes * elements(op.x) + (op.encode ? 1 : FLOAT_BYTES) * elements(op.y),
    weights: 0,
  }
}
