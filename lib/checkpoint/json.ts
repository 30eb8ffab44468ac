/**
 * JSON from files that nobody vouches for.
 */

export type JsonObject = { [key: string]: unknown }

/** A model's description is flat; anything deeper is an attack or another format. */
const DEEPEST = 32

/**
 * @param what names the text in errors
 * @throws Error when the text is not JSON, nests deeper than 32 levels, or repeats a key of the outermost object
 */
export function parseJsonObject(bytes: Uint8Array, what: string): JsonObject {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new Error(`${what} is not UTF-8`, { cause })
  }
  const keys = scan(text, what)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new Error(`${what} is not valid JSON: ${(cause as Error).message}`, { cause })
  }
  if (!isObject(value)) throw new Error(`${what} is not a JSON object`)
  if (Object.keys(value).length !== keys) throw new Error(`${what} names something twice`)
  return value
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Bounds the depth before a parser sees the text, and counts the members of the outermost object. */
function scan(text: string, what: string): number {
  let depth = 0
  let members = 0
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: // "
        for (i++; i < text.length && text.charCodeAt(i) !== 0x22; i++) if (text.charCodeAt(i) === 0x5c) i++
        break
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > DEEPEST) throw new Error(`${what} nests deeper than ${DEEPEST} levels`)
        break
      case 0x5d: // ]
      case 0x7d: // }
        depth--
        break
      case 0x3a: // :
        if (depth === 1) members++
        break
    }
  }
  return members
}
