/**
 * JSON from files that nobody vouches for.
 */

export type JsonObject = { [key: string]: unknown }

/** A model's description is flat; anything deeper is an attack or another format. */
const DEEPEST = 32

/** @throws Error when the text is not JSON or nests deeper than 32 levels; `what` names it */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  return parse(bytes, what).value
}

/** @throws Error as {@link parseJson} does, and when the value is no object or repeats one of its keys */
export function parseJsonObject(bytes: Uint8Array, what: string): JsonObject {
  const { value, members } = parse(bytes, what)
  if (!isObject(value)) throw new Error(`${what} is not a JSON object`)
  if (Object.keys(value).length !== members) throw new Error(`${what} names something twice`)
  return value
}

function parse(bytes: Uint8Array, what: string): { value: unknown; members: number } {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new Error(`${what} is not UTF-8`, { cause })
  }
  const members = scan(text, what)
  try {
    return { value: JSON.parse(text), members }
  } catch (cause) {
    throw new Error(`${what} is not valid JSON: ${(cause as Error).message}`, { cause })
  }
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
