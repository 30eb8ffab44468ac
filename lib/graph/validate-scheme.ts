import { packedBytes } from '../runtime/blobs.js'
import type { Graph } from './graph.js'
import { operandsOf } from './operands.js'
import { type Code, logitsOf, type Scheme, type WeightCode } from './scheme.js'
import { isDimension } from './validate.js'

/**
 * What has to hold before the codes of a scheme reach native code.
 */

/** 255 * 128 times this stays below 2^31: sums of products of a byte and a weight are exact in int32. */
const MOST_INPUTS = 65536

/** @throws Error that starts with `what` */
export function validateCode(code: Code, what: string): void {
  const { bits, family, levels, step } = code
  checkBits(bits, what)
  if (!['uniform', 'v2sf', 'codebook'].includes(family)) throw new Error(`${what}: unknown family of codes ${family}`)
  if (levels.length !== 2 ** bits) throw new Error(`${what}: ${levels.length} levels for ${bits} bits`)
  const low = levels[0]
  const high = levels[levels.length - 1]
  const [least, most] = low < 0 ? [-128, 127] : [0, 255]
  if (!levels.every(Number.isInteger)) throw new Error(`${what}: a level is not an integer`)
  if (!levels.every((level, i) => i === 0 || level >= levels[i - 1])) throw new Error(`${what}: levels do not ascend`)
  if (low < least || high > most) throw new Error(`${what}: levels ${low}..${high} do not fit into ${least}..${most}`)
  if (!levels.includes(0)) throw new Error(`${what}: no level is 0`)
  if (family === 'uniform' && !levels.every((level, i) => level === low + i)) {
    throw new Error(`${what}: the levels of a uniform code are not consecutive`)
  }
  checkStep(step, what)
}

/** @throws Error that starts with `what` */
export function validateWeightCode(code: WeightCode, what: string): void {
  const { bits, outputs, inputs, packed, steps } = code
  checkBits(bits, what)
  if (!isDimension(outputs) || !isDimension(inputs) || inputs > MOST_INPUTS) {
    throw new Error(`${what}: a weight of ${outputs} x ${inputs} is out of range`)
  }
  const bytes = packedBytes(outputs, inputs, bits)
  if (packed.length !== bytes) throw new Error(`${what}: ${packed.length} bytes of codes, expected ${bytes}`)
  if (steps.length !== outputs) throw new Error(`${what}: ${steps.length} steps for ${outputs} outputs`)
  for (const step of steps) checkStep(step, what)
}

/**
 * Every operand of the graph has a valid code.
 *
 * @throws Error that names the operand at fault
 */
export function validateScheme(graph: Graph, scheme: Scheme): void {
  for (const { kind, layer, name } of operandsOf(graph, scheme)) {
    const what = `${layer}: ${kind} ${name}`
    if (kind === 'weight') {
      const code = scheme.weights.get(name)
      if (!code) throw new Error(`${what} has no code in the scheme`)
      validateWeightCode(code, what)
      const shape = graph.constants.get(name)?.shape ?? [code.outputs, code.inputs]
      if (shape[0] !== code.outputs || shape[1] !== code.inputs) {
        throw new Error(`${what} is ${shape.join(' x ')}, its code ${code.outputs} x ${code.inputs}`)
      }
      continue
    }
    const code = scheme.edges.get(name)
    if (!code) throw new Error(`${what} has no code in the scheme`)
    validateCode(code, what)
    const { levels } = code
    if (kind === 'probabilities' && levels[0] < 0) throw new Error(`${what}: a code of probabilities has no negative levels`)
    // Attention reads bytes with offset 128.
    const inAttention = kind === 'query' || kind === 'key' || kind === 'value'
    if (inAttention && levels[levels.length - 1] > 127) throw new Error(`${what}: levels above 127 do not fit attention`)
  }
  checkLogitCodes(graph, scheme)
}

/** The code of an attention node's logits, where there is one. */
function checkLogitCodes(graph: Graph, scheme: Scheme): void {
  for (const node of graph.nodes) {
    const code = node.op === 'attention' ? scheme.edges.get(logitsOf(node)) : undefined
    if (!code) continue
    const what = `${node.name}: logits`
    validateCode(code, what)
    if (code.family !== 'uniform' || code.levels[0] !== -128) throw new Error(`${what}: a code of logits is uniform from -128 to 127`)
  }
}

function checkBits(bits: number, what: string): void {
  if (!(Number.isInteger(bits) && bits >= 2 && bits <= 8)) throw new Error(`${what}: ${bits} bits, expected 2..8`)
}

function checkStep(step: number, what: string): void {
  if (!(step > 0 && Number.isFinite(step) && Math.fround(step) === step)) {
    throw new Error(`${what}: the step ${step} is not a positive float32`)
  }
  if (!Number.isFinite(Math.fround(1 / step))) throw new Error(`${what}: the step ${step} is too small`)
}
