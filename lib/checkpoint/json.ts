import { jsonBounds } from '../runtime/json-bounds.js'
import { isObject, type JsonObject } from '../values.js'

/**
 * JSON from files that nobody vouches for.
 */

/** A model's description is flat; anything deeper is an attack or another format. */
const DEEPEST = 32

/** A value of two bytes becomes an object of fifty. Headers have about ten values a tensor. */
const MOST_VALUES = 1 << 20

/** @throws Error when the text is not JSON, nests deeper than 32 levels or has more than a million values; `what` names it */
export function parseJson(json: Uint8Array | string, what: string): unknown {
  return parse(json, what).value
}

/** @throws Error as {@link parseJson} does, and when the value is no object or repeats one of its keys */
export function parseJsonObject(json: Uint8Array, what: string): JsonObject {
  const { value, members } = parse(json, what)
  if (!isObject(value)) throw new Error(`${what} is not a JSON object`)
  if (Object.keys(value).length !== members) throw new Error(`${what} names something twice`)
  return value
}

function parse(json: Uint8Array | string, what: string): { value: unknown; members: number } {
  const text = typeof json === 'string' ? json : decode(json, what)
  const members = checkBounds(json, what)
  try {
    return { value: JSON.parse(text), members }
  } catch (cause) {
    throw new Error(`${what} is not valid JSON: ${(cause as Error).message}`, { cause })
  }
}

function decode(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new Error(`${what} is not UTF-8`, { cause })
  }
}

/** Bounds depth and values before a parser sees the text, and counts the members of the outermost object. */
function checkBounds(json: Uint8Array | string, what: string): number {
  const { depth, values, members } = jsonBounds(json)
  if (depth > DEEPEST) throw new Error(`${what} nests deeper than ${DEEPEST} levels`)
  if (values > MOST_VALUES) throw new Error(`${what} has more than ${MOST_VALUES} values`)
  return members
}
