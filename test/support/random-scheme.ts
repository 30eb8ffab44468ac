import { takesFactors } from '../../lib/graph/coverage.js'
import { outlierFactors } from '../../lib/graph/factors.js'
import { type Graph, inputsOf } from '../../lib/graph/graph.js'
import { operandsOf } from '../../lib/graph/operands.js'
import type { Code, Scheme, WeightCode } from '../../lib/graph/scheme.js'
import { packWeight } from '../../lib/runtime/blobs.js'
import { type Matrix, runReference } from './reference.js'

/**
 * A scheme for tests: plain choices from the range that each operand has on one image, of all widths and families.
 */
export function simpleScheme(graph: Graph, image: Float32Array, coverage: Scheme['coverage'] = 'partial'): Scheme {
  const edges = runReference(graph, image)
  const scheme: Scheme = { weights: new Map(), edges: new Map(), coverage }
  operandsOf(graph, scheme).forEach(({ kind, name }, i) => {
    if (kind === 'weight') {
      scheme.weights.set(name, weightCode(graph, name, 3 + (i % 6)))
      return
    }
    const values = edges.get(name) as Matrix
    const bits = kind === 'probabilities' ? 6 + (i % 3) : 5 + (i % 4)
    const table = kind === 'probabilities' || name.endsWith('gelu')
    if (kind === 'residual') scheme.edges.set(name, streamCode(values, i, takesFactors(graph, name)))
    else if (kind === 'gelu input' || kind === 'logits') scheme.edges.set(name, symmetricCode(values, 8))
    else if (kind === 'probabilities' && coverage === 'full') scheme.edges.set(name, relativeCode(i))
    else if (table) scheme.edges.set(name, tableCode(values, Math.min(bits, 6)))
    else scheme.edges.set(name, readByLinears(graph, name) && i % 3 === 0 ? uniformCode(values, 8, -200) : uniformCode(values, bits))
  })
  return scheme
}

const readByLinears = (graph: Graph, name: string): boolean =>
  graph.nodes.every((node) => node.op === 'linear' || !inputsOf(node).includes(name))

/** Rows in symmetric codes, each with a step of its own. */
export function weightCode(graph: Graph, name: string, bits: number): WeightCode {
  const { shape, data } = graph.constants.get(name) as { shape: number[]; data: Float32Array }
  const [outputs, inputs] = shape
  const half = 2 ** (bits - 1)
  const steps = new Float32Array(outputs)
  const codes = new Int8Array(data.length)
  for (let o = 0; o < outputs; o++) {
    const row = data.subarray(o * inputs, (o + 1) * inputs)
    steps[o] = row.reduce((most, w) => Math.max(most, Math.abs(w)), 0) / (half - 0.5)
    for (let i = 0; i < inputs; i++) {
      codes[o * inputs + i] = Math.min(Math.max(Math.round(row[i] / steps[o]), -half), half - 1)
    }
  }
  return { bits, outputs, inputs, steps, packed: packWeight(codes, outputs, inputs, bits) }
}

const reach = ({ data }: Matrix): number => data.reduce((most, x) => Math.max(most, Math.abs(x)), 0)

const symmetricCode = (values: Matrix, bits: number): Code => uniformCode(values, bits, -(2 ** (bits - 1)))

/** O-2SF in two of three cases, else a codebook. */
const streamCode = (values: Matrix, i: number, factors: boolean): Code =>
  i % 3 === 0 || !factors ? codebookCode(values) : outlierCode(values, 7 + (i % 2))

/** Levels that lie closer around 0. */
function codebookCode(values: Matrix): Code {
  const levels = Array.from({ length: 256 }, (_, i) => Math.round((i - 128) * (0.5 + Math.abs(i - 128) / 256) * (127 / 128)))
  return { bits: 8, family: 'codebook', levels, step: Math.fround(reach(values) / 127) }
}

/** O-2SF: a channel that reaches twice as far as the one in the middle is an outlier. */
function outlierCode(values: Matrix, bits: number): Code {
  const reaches = Array.from({ length: values.width }, (_, j) =>
    reach({ ...values, data: values.data.filter((_, i) => i % values.width === j) }),
  )
  const middle = [...reaches].sort((a, b) => a - b)[values.width >> 1]
  const m = Math.min(7, Math.ceil(Math.log2(Math.max(...reaches) / (2 * middle))))
  const { levels, step } = symmetricCode(values, bits)
  const factors = outlierFactors(
    reaches.map((r) => r > 2 * middle),
    Math.max(1, m),
  )
  return { bits, family: 'o2sf', levels, step: Math.fround((2 * middle * step) / reach(values)), factors }
}

function uniformCode(values: Matrix, bits: number, low = values.data.every((x) => x >= 0) ? 0 : -(2 ** (bits - 1))): Code {
  const high = low + 2 ** bits - 1
  const levels = Array.from({ length: 2 ** bits }, (_, i) => low + i)
  return { bits, family: 'uniform', levels, step: Math.fround(reach(values) / (high + 0.5)) }
}

/** Of softmax relative to the largest of each query: a fine half and a coarse one, or consecutive levels of which the highest clip. */
const relativeCode = (i: number): Code =>
  i % 2
    ? { ...tableCode({ rows: 1, width: 1, data: Float64Array.of(1) }, 6), relative: true }
    : { ...uniformCode({ rows: 1, width: 1, data: Float64Array.of(0.9) }, 8), relative: true }

/** A fine half and a coarse one, four times as wide; levels of both coincide at 0. */
function tableCode(values: Matrix, bits: number): Code {
  const half = 2 ** (bits - 1)
  const signed = values.data.some((x) => x < 0)
  const fine = Array.from({ length: half }, (_, i) => (signed ? i - half / 2 : i))
  const coarse = Array.from({ length: half }, (_, i) => 4 * i)
  const levels = [...fine, ...coarse].sort((a, b) => a - b)
  return { bits, family: 'v2sf', levels, step: Math.fround(reach(values) / levels[levels.length - 1]) }
}
