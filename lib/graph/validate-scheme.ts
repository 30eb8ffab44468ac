import { firstOutside, packedBytes } from '../runtime/blobs.js'
import { packedLength } from './constants.js'
import { originOf, READS_ONE_STEP, takeFineFirst, WRITES_ONE_STEP } from './coverage.js'
import { isPlain } from './encoder.js'
import { type Graph, inputsOf, type Node } from './graph.js'
import { type Operand, type OperandKind, operandsOf } from './operands.js'
import { type Code, probabilitiesOf, type Scheme, type WeightCode } from './scheme.js'
import { isDimension } from './validate.js'

/**
 * What has to hold before the codes of a scheme reach native code.
 */

/** 255 * 128 times this stays below 2^31: sums of products of a byte and a weight are exact in int32. */
const MOST_INPUTS = 65536
/** Bounds of LayerNorm on codes, see native/ops/layernorm.h. */
const WIDEST_LAYERNORM = 65536
/** Between these a float32 needs no other check to be a step. */
const SMALL_STEP = 1e-30
const LARGE_STEP = 1e30
/** And a normal factor. */
const SMALL_FACTOR = 2 ** -126
const LARGE_FACTOR = 2 ** 127
/**
 * Of a factor before GELU, binary digits, and of a step that has such factors. Within these, 1 / step over a factor is a normal number, the
 * step times a factor is finite, and a value over a factor is normal or rounds to level 0: kernels may multiply in any order
 * (native/ops/linear.h).
 */
const MOST_SHIFT = 20
const SMALL_SHIFTED_STEP = 1e-36
const LARGEST_FACTOR = { signed: 2 ** 7, unsigned: 2 ** 6 }

/** @throws Error that starts with `what` */
export function validateCode(code: Code, what: string): void {
  const { bits, family, levels, step, factors, fineFirst } = code
  checkBits(bits, what)
  if (!['uniform', 'v2sf', 'regions', 'log', 'codebook', 'o2sf'].includes(family))
    throw new Error(`${what}: unknown family of codes ${family}`)
  if (levels.length !== 2 ** bits) throw new Error(`${what}: ${levels.length} levels for ${bits} bits`)
  const low = levels[0]
  const high = levels[levels.length - 1]
  const consecutive = areConsecutive(levels, what)
  if (high - Math.min(low, 0) > 255) throw new Error(`${what}: levels ${low}..${high} do not fit into a byte`)
  if (fineFirst === undefined && !isPlain(levels) && low % 2 !== 0) throw new Error(`${what}: the lowest of levels ${low}..${high} is odd`)
  if (fineFirst !== undefined && !(fineFirst % 2 === 0 && fineFirst <= Math.min(low, 0) && fineFirst >= high - 255 && fineFirst >= -254)) {
    throw new Error(`${what}: levels ${low}..${high} do not lie in a first row that begins at ${fineFirst}`)
  }
  if (!levels.includes(0)) throw new Error(`${what}: no level is 0`)
  if ((family === 'uniform' || family === 'o2sf') && !consecutive) {
    throw new Error(`${what}: the levels of a uniform code are not consecutive`)
  }
  checkStep(step, what)
  if (family === 'o2sf' && !factors) throw new Error(`${what}: O-2SF without factors`)
  if (factors?.length === 0) throw new Error(`${what}: no factors`)
  if (factors) checkFactors(factors, step, what)
}

/** Each times the step is a step. */
function checkFactors(factors: Float32Array, step: number, what: string): void {
  // The many factors give normal numbers, far from both ends; where not all do, each is looked at. Both bounds are positive, and finite as
  // the float32 that they are rounded to.
  const low = Math.max(SMALL_STEP / step, SMALL_FACTOR)
  const high = Math.min(LARGE_STEP / step, LARGE_FACTOR)
  if (firstOutside(factors, low, high) < 0) return
  for (const factor of factors) checkStep(Math.fround(step * factor), what)
  for (const factor of factors) if (!(factor > 0)) throw new Error(`${what}: the factor ${factor} is not positive`)
}

/** Of frozen levels, which many codes share. */
const knownConsecutive = new WeakMap<number[], boolean>()

/** @throws Error that starts with `what` where levels are not ascending integers */
function areConsecutive(levels: number[], what: string): boolean {
  const known = knownConsecutive.get(levels)
  if (known !== undefined) return known
  let consecutive = true
  for (let i = 0; i < levels.length; i++) {
    if (!Number.isInteger(levels[i])) throw new Error(`${what}: a level is not an integer`)
    if (i > 0 && levels[i] < levels[i - 1]) throw new Error(`${what}: levels do not ascend`)
    consecutive &&= levels[i] === levels[0] + i
  }
  if (Object.isFrozen(levels)) knownConsecutive.set(levels, consecutive)
  return consecutive
}

/** @throws Error that starts with `what` */
export function validateWeightCode(code: WeightCode, what: string): void {
  validateWeightSizes(code, what)
  // The many steps are normal numbers, far from both ends; where not all are, each is looked at.
  if (firstOutside(code.steps, SMALL_STEP, LARGE_STEP) >= 0) for (const step of code.steps) checkStep(step, what)
}

/** What {@link validateWeightCode} checks, except the values of the steps. */
export function validateWeightSizes(code: WeightCode, what: string): void {
  const { bits, outputs, inputs, steps } = code
  checkBits(bits, what)
  if (!isDimension(outputs) || !isDimension(inputs) || inputs > MOST_INPUTS) {
    throw new Error(`${what}: a weight of ${outputs} x ${inputs} is out of range`)
  }
  const bytes = packedBytes(outputs, inputs, bits)
  const length = packedLength(code)
  if (length !== bytes) throw new Error(`${what}: ${length} bytes of codes, expected ${bytes}`)
  if (steps.length !== outputs) throw new Error(`${what}: ${steps.length} steps for ${outputs} outputs`)
}

/**
 * Every operand of the graph has a valid code.
 *
 * @returns the operands
 * @throws Error that names the operand at fault
 */
export function validateScheme(graph: Graph, scheme: Scheme): Operand[] {
  if (scheme.coverage !== 'partial' && scheme.coverage !== 'full') throw new Error(`unknown coverage ${scheme.coverage}`)
  const operands = operandsOf(graph, scheme)
  let takers: Set<string> | undefined
  for (const { kind, layer, name } of operands) {
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
    if (kind === 'logits' && (code.family !== 'uniform' || code.factors)) throw new Error(`${what}: not a uniform code of one step`)
    if (kind === 'gelu input') validatePreActivation(code, what)
    if (kind === 'logits' && levels[0] !== -128) throw new Error(`${what}: a code of logits is uniform from -128 to 127`)
    if (kind === 'probabilities' && levels[0] < 0) throw new Error(`${what}: a code of probabilities has no negative levels`)
    if (code.fineFirst !== undefined) {
      takers ??= takeFineFirst(graph)
      validateFineFirst(code, kind, kind !== 'gelu input' && takers.has(name), what)
    }
    if (code.relative && kind !== 'probabilities') throw new Error(`${what}: only codes of probabilities are relative`)
    // Attention reads bytes with offset 128.
    const inAttention = kind === 'query' || kind === 'key' || kind === 'value'
    if (inAttention && levels[levels.length - 1] > 127) throw new Error(`${what}: levels above 127 do not fit attention`)
  }
  validateFactors(graph, scheme)
  return operands
}

/** @throws Error that names a code of no operand, which would be loaded for nothing */
export function checkAllUsed(operands: Operand[], scheme: Scheme): void {
  const used = new Set(operands.map(({ kind, name }) => `${kind === 'weight' ? 'weight' : 'edge'} ${name}`))
  const weights = [...scheme.weights.keys()].map((name) => `weight ${name}`)
  const edges = [...scheme.edges.keys()].map((name) => `edge ${name}`)
  const unused = [...weights, ...edges].find((coded) => !used.has(coded))
  if (unused !== undefined) throw new Error(`the scheme has a code for the ${unused}, but the graph has no such operand`)
}

/** Whoever writes the edge, or makes these probabilities, knows which row is the first; whoever reads it knows few offsets. */
function validateFineFirst({ family, fineFirst }: Code, kind: OperandKind, taken: boolean, what: string): void {
  if (family === 'uniform' || family === 'o2sf') throw new Error(`${what}: consecutive levels have no fine first row`)
  if (!taken) throw new Error(`${what}: nothing writes it that makes a first row fine`)
  const signed = kind === 'query' || kind === 'key' || kind === 'value'
  const allowed = kind === 'input' || fineFirst === (signed ? -128 : 0) || (kind === 'residual' && fineFirst === -128)
  if (!allowed) throw new Error(`${what}: a fine first row cannot begin at ${fineFirst} there`)
}

/** What a linear layer rounds to in front of its activation. */
function validatePreActivation({ family, step, factors }: Code, what: string): void {
  if (family !== 'uniform' && family !== 'o2sf') throw new Error(`${what}: not a uniform code or O-2SF`)
  if (!factors) return
  if (!factors.every((factor) => Number.isInteger(Math.log2(factor)))) throw new Error(`${what}: factors are not powers of two`)
  if (!factors.every((factor) => Math.abs(Math.log2(factor)) <= MOST_SHIFT)) throw new Error(`${what}: a factor is out of range`)
  if (!(step > SMALL_SHIFTED_STEP && step < LARGE_STEP)) throw new Error(`${what}: a step of ${step} is out of range of one with factors`)
}

/** Factors fit the nodes that write and read their edge. */
function validateFactors(graph: Graph, scheme: Scheme): void {
  const origin = originOf(graph)
  const codeOf = (edge: string): Code | undefined => scheme.edges.get(edge) ?? scheme.edges.get(origin(edge))
  for (const node of graph.nodes) {
    const written = codeOf(node.output)?.factors
    const { width } = graph.edges.get(node.output) as { width: number }
    if (written && width % written.length !== 0) {
      throw new Error(`${node.name}: ${written.length} factors do not divide the ${width} columns of ${node.output}`)
    }
    if (written && WRITES_ONE_STEP.has(node.op)) {
      throw new Error(`${node.name}: ${node.output} has factors, which only linear layers and LayerNorm can write`)
    }
    if (scheme.coverage === 'full' && node.op === 'layernorm' && width > WIDEST_LAYERNORM) {
      throw new Error(`${node.name}: LayerNorm on codes has at most ${WIDEST_LAYERNORM} columns, not ${width}`)
    }
    for (const edge of inputsOf(node)) {
      const code = codeOf(edge)
      if (code) validateReader(node, edge, code, scheme)
    }
    if (node.op === 'attention') validateHeads(node, scheme.edges.get(probabilitiesOf(node))?.factors)
  }
}

function validateReader(node: Node, edge: string, { factors, levels, fineFirst = 0 }: Code, scheme: Scheme): void {
  if (factors && READS_ONE_STEP.has(node.op)) {
    const remedy = node.op === 'linear' ? ': fold them into its weight' : ''
    throw new Error(`${node.name}: ${edge} has factors, which a ${node.op} layer cannot read${remedy}`)
  }
  if (node.op !== 'linear' && !(isPlain(levels) && [0, -128].includes(fineFirst))) {
    throw new Error(
      `${node.name}: the levels of ${edge} are neither in -128..127 nor in 0..255, and other levels are for linear layers alone`,
    )
  }
  if (node.op === 'attention') validateHeads(node, factors)
  if (node.op !== 'layernorm' || scheme.coverage !== 'full') return
  const most = levels[0] < 0 ? LARGEST_FACTOR.signed : LARGEST_FACTOR.unsigned
  const fits = (factor: number) => factor >= 1 && factor <= most && Number.isInteger(Math.log2(factor))
  if (!(factors ?? []).every(fits)) throw new Error(`${node.name}: the factors of ${edge} are not powers of two in 1..${most}`)
}

function validateHeads(node: Extract<Node, { op: 'attention' }>, factors?: Float32Array): void {
  if (factors && node.heads % factors.length !== 0) {
    throw new Error(`${node.name}: ${factors.length} factors do not divide ${node.heads} heads`)
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
