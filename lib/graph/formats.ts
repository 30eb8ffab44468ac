import { offsetOf } from './encoder.js'
import { repeatFactors } from './factors.js'
import { inputsOfStep, residualOf, type Step } from './fusion.js'
import type { Code, Scheme } from './scheme.js'
import { MERGED } from './windows.js'

/**
 * Which edges are stored as codes: those that feed matrix products, and they feed nothing else; with full coverage all but the logits.
 */

export interface Format {
  code: Code
  /** What is added to a level to make the stored byte. */
  offset: number
}

/**
 * The format of each stored edge that holds codes; every other edge holds floats.
 *
 * @param storage the edge whose storage an edge shares
 * @param covered the edges that full coverage stores as codes; null for partial coverage
 * @throws Error that names an edge which would have to be both, or which nothing can encode
 */
export function edgeFormats(
  steps: Step[],
  scheme: Scheme,
  storage: (edge: string) => string,
  covered: Set<string> | null,
): Map<string, Format> {
  const formats = new Map<string, Format>()
  for (const step of steps) {
    if (step.op !== 'linear' && step.op !== 'attention') continue
    const operands = step.op === 'linear' ? [step.node.input] : [step.node.q, step.node.k, step.node.v]
    for (const edge of operands.map(storage)) {
      const code = scheme.edges.get(edge)
      if (!code) throw new Error(`${step.node.name}: the edge ${edge} has no code in the scheme`)
      // Attention reads bytes with offset 128 whatever the levels are.
      const offset = step.op === 'attention' ? 128 : (formats.get(edge)?.offset ?? offsetOf(code))
      formats.set(edge, { code, offset })
    }
  }
  for (const edge of covered ?? []) {
    const code = scheme.edges.get(edge)
    if (!code) throw new Error(`the edge ${edge} has no code in the scheme`)
    if (!formats.has(edge)) formats.set(edge, { code, offset: offsetOf(code) })
  }
  for (const step of steps) if (step.op === 'merge') shareFormat(formats, storage(step.node.input), step)
  if (!covered) checkFloats(steps, formats, storage)
  for (const step of steps) {
    if (covered && step.op === 'pointwise') {
      throw new Error(`${step.node.name}: with full coverage it has to follow a linear layer that nothing else reads`)
    }
    if (step.op === 'attention' && !formats.has(step.output)) {
      throw new Error(`${step.node.name}: only matrix products may read what attention computes on codes`)
    }
  }
  const encoded = new Set(steps.filter(({ op }) => op !== 'prefix').map(({ output }) => output))
  for (const edge of formats.keys()) if (!encoded.has(edge)) throw new Error(`nothing encodes the edge ${edge}`)
  return formats
}

/** What partial coverage reads or writes as floats is no code. */
function checkFloats(steps: Step[], formats: Map<string, Format>, storage: (edge: string) => string): void {
  for (const step of steps) {
    for (const edge of floatReads(step).map(storage)) {
      if (formats.has(edge)) throw new Error(`the edge ${edge} is stored as codes, but ${step.node.name} reads it as floats`)
    }
    if (step.op === 'prefix' && formats.has(step.output)) {
      throw new Error(`${step.node.name}: no matrix product may read tokens directly`)
    }
  }
}

/** Merged rows are copies of bytes: both edges hold floats, or codes of one format, whose factors are those of each part. */
function shareFormat(formats: Map<string, Format>, input: string, { node, output }: Extract<Step, { op: 'merge' }>): void {
  const [from, to] = [formats.get(input), formats.get(output)]
  const format = from ?? to
  if (!format) return
  if (from && to && JSON.stringify(from) !== JSON.stringify(to)) {
    throw new Error(`${node.name}: the edges ${input} and ${output} have different codes, and rows are only copied`)
  }
  formats.set(input, format).set(output, { ...format, code: repeatFactors(format.code, MERGED) })
}

function floatReads(step: Step): string[] {
  switch (step.op) {
    case 'linear':
      return residualOf(step)
    case 'attention':
      return []
    // They read what there is.
    case 'merge':
    case 'mean':
      return []
    default:
      return inputsOfStep(step)
  }
}
