/**
 * Values that nobody vouches for: from files and callers.
 */

export type JsonObject = { [key: string]: unknown }

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A finite number from 0 on. */
export const isAmount = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0

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
