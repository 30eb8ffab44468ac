/**
 * Values that nobody vouches for: from files and callers.
 */

export type JsonObject = { [key: string]: unknown }

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A finite number from 0 on. */
export const isAmount = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0

/** @throws Error for a field that is not known, which would be passed over in silence; `what` names the object */
export function checkFields(json: JsonObject, known: readonly string[], what: string): void {
  for (const key in json) if (!known.includes(key)) throw new Error(`${what} has a field ${show(key)} that this version does not know`)
}

/** Characters of a value in a message. */
const LONGEST = 100

/** A value as a message shows it: as JSON, cut when it is long. */
export function show(value: unknown): string {
  const text = JSON.stringify(typeof value === 'string' ? value.slice(0, LONGEST + 1) : value) ?? String(value)
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text
}

/** What was handed in where something else is wanted. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** Every option that there is: a name that is missing here does not compile. */
export type Known<Options> = Record<keyof Options, true>

/**
 * @throws TypeError for an option that `call` does not have, which would be passed over in silence, a signal that is none, and what is no
 *   function where something is reported
 */
export function checkOptionsOf<Options extends object>(call: string, options: Options, known: Known<Options>): void {
  if (!isObject(options)) throw new TypeError(`the options of ${call} must be an object, not ${kindOf(options)}`)
  for (const key of Object.keys(options)) {
    if (!Object.hasOwn(known, key)) throw new TypeError(`${call} has no option ${key}; its options are ${Object.keys(known).join(', ')}`)
  }
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || value === null) continue
    if (key === 'signal' && !isSignal(value)) throw new TypeError(`${call}: signal must be an AbortSignal, not ${kindOf(value)}`)
    if (/^on[A-Z]/.test(key) && typeof value !== 'function') throw new TypeError(`${call}: ${key} must be a function, not ${kindOf(value)}`)
  }
}

/** By what it can do: a signal of another realm is one, too. */
function isSignal(value: unknown): boolean {
  const { throwIfAborted, addEventListener } = value as Partial<AbortSignal>
  return typeof throwIfAborted === 'function' && typeof addEventListener === 'function'
}
