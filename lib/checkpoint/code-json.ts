import type { Code } from '../graph/scheme.js'
import { validateCode } from '../graph/validate-scheme.js'
import { checkFields, isObject, type JsonObject, show } from '../values.js'

/**
 * Codes of edges as JSON. Levels of a uniform code follow from the lowest; others are bytes above the lowest. Factors 1 and 2^m are a bit
 * each, all others float32, in base64.
 */

const FIELDS = ['bits', 'step', 'low', 'family', 'levels', 'factors', 'relative', 'fineFirst']
const CONSECUTIVE = ['uniform', 'o2sf']
/** Levels of uniform codes by bits and lowest level: a model has a hundred codes and a handful of these. */
const uniformLevels = new Map<string, number[]>()
/** No edge is wider. */
const MOST_FACTORS = 2 ** 24

export function codeToJson({ bits, family, levels, step, factors, relative, fineFirst }: Code): JsonObject {
  const low = levels[0]
  return {
    ...{ bits, step, low },
    ...(family !== 'uniform' && { family }),
    ...(!CONSECUTIVE.includes(family) && { levels: Buffer.from(levels.map((level) => level - low)).toString('base64') }),
    ...(factors && { factors: factorsToJson(factors) }),
    ...(relative && { relative }),
    ...(fineFirst !== undefined && { fineFirst }),
  }
}

/** @throws Error that starts with `name` */
export function codeFromJson(json: unknown, name: string): Code {
  if (!isObject(json)) throw new Error(`the code of ${name} is not an object`)
  checkFields(json, FIELDS, `the code of ${name}`)
  const { bits, step, low, family = 'uniform', relative, fineFirst } = json
  if (typeof bits !== 'number' || typeof step !== 'number' || typeof low !== 'number') {
    throw new Error(`the code of ${name} lacks bits, step or low`)
  }
  if (bits > 8 || !Number.isInteger(bits) || bits < 2) throw new Error(`${name}: ${bits} bits, expected 2..8`)
  const levels = CONSECUTIVE.includes(family as string)
    ? uniform(bits, low)
    : Array.from(Buffer.from(String(json.levels ?? ''), 'base64'), (above) => low + above)
  const code: Code = { bits, family: family as Code['family'], levels, step }
  if (json.factors !== undefined) code.factors = factorsFromJson(json.factors, name)
  if (relative !== undefined && relative !== true) throw new Error(`${name}: relative is ${show(relative)}, not true`)
  if (relative) code.relative = true
  if (fineFirst !== undefined && typeof fineFirst !== 'number') throw new Error(`${name}: fineFirst is ${show(fineFirst)}, not a number`)
  if (fineFirst !== undefined) code.fineFirst = fineFirst
  validateCode(code, name)
  return code
}

/** Shared, and so frozen. Only those of a byte are kept, of which there are few. */
function uniform(bits: number, low: number): number[] {
  const key = `${bits} ${low}`
  const known = uniformLevels.get(key)
  if (known) return known
  const levels = Array.from({ length: 2 ** bits }, (_, i) => low + i)
  if (Number.isInteger(low) && Math.abs(low) < 256) uniformLevels.set(key, Object.freeze(levels) as number[])
  return levels
}

function factorsToJson(factors: Float32Array): string | JsonObject {
  const most = factors.reduce((a, b) => Math.max(a, b), 1)
  const shift = Math.log2(most)
  if (!Number.isInteger(shift) || !factors.every((factor) => factor === 1 || factor === most)) {
    const bytes = Buffer.alloc(4 * factors.length)
    factors.forEach((factor, i) => bytes.writeFloatLE(factor, 4 * i))
    return bytes.toString('base64')
  }
  const mask = Buffer.alloc(Math.ceil(factors.length / 8))
  factors.forEach((factor, i) => {
    if (factor !== 1) mask[i >> 3] |= 1 << (i & 7)
  })
  return { count: factors.length, shift, mask: mask.toString('base64') }
}

function factorsFromJson(json: unknown, name: string): Float32Array {
  if (typeof json === 'string') {
    const bytes = Buffer.from(json, 'base64')
    if (bytes.length % 4 !== 0) throw new Error(`${name}: its factors are ${bytes.length} bytes, not float32`)
    return new Float32Array(new Uint8Array(bytes).buffer)
  }
  if (!isObject(json)) throw new Error(`${name}: its factors are neither floats nor a mask`)
  const { count, shift } = json
  const mask = Buffer.from(String(json.mask ?? ''), 'base64')
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 1 || count > MOST_FACTORS || mask.length !== Math.ceil(count / 8)) {
    throw new Error(`${name}: a mask of ${mask.length} bytes for ${show(count)} factors`)
  }
  if (typeof shift !== 'number' || !Number.isInteger(shift)) throw new Error(`${name}: its factors have no shift`)
  return Float32Array.from({ length: count }, (_, i) => (mask[i >> 3] & (1 << (i & 7)) ? 2 ** shift : 1))
}
