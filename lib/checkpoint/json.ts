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
  const members = scan(text, what)
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
function scan(text: string, what: string): number {
  let depth = 0
  let members = 0
  // Each value but the first follows on a comma or on what opens a list or object.
  let values = 1
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: // "
        i = endOfString(text, i)
        break
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > DEEPEST) throw new Error(`${what} nests deeper than ${DEEPEST} levels`)
        values++
        break
      case 0x2c: // ,
        values++
        break
      case 0x5d: // ]
      case 0x7d: // }
        depth--
        break
      case 0x3a: // :
        if (depth === 1) members++
        break
    }
    if (values > MOST_VALUES) throw new Error(`${what} has more than ${MOST_VALUES} values`)
  }
  return members
}

/** Where the string ends that begins at `start`: most of a header lies in strings, which are searched faster than scanned. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let escapes = 0
    while (text.charCodeAt(end - 1 - escapes) === 0x5c) escapes++
    if (escapes % 2 === 0) return end
  }
  return text.length
}
