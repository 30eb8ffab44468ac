import addon from '#addon'

/**
 * Of a JSON text how deep it nests, at most how many values it has, and how many members its outermost object has, repeated ones too. Native,
 * since an interpreter takes milliseconds for a text that it meets as the first of a process.
 */
export function jsonBounds(text: string | Uint8Array): { depth: number; values: number; members: number } {
  const [depth, values, members] = addon.jsonBounds(text)
  return { depth, values, members }
}
