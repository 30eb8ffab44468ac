import type { ProfiledOp } from './profile.js'

/** Layers of a profile that are looked at together. */
export interface Layers {
  name: string
  ops: ProfiledOp[]
  /** Of all of them. */
  milliseconds: number
  /** The least time that the roofs allow all of them, as a fraction of what they took. */
  roofline: number
}

/** Layers that differ in a number only, as those of all blocks do, in the order of their first. */
export function alike(ops: ProfiledOp[]): Layers[] {
  const groups = new Map<string, ProfiledOp[]>()
  for (const op of ops) {
    const key = `${starred(op.name)} ${op.op}`
    const group = groups.get(key)
    if (group) group.push(op)
    else groups.set(key, [op])
  }
  return [...groups.values()].map((group) => together(starred(group[0].name), group))
}

export function together(name: string, ops: ProfiledOp[]): Layers {
  const milliseconds = ops.reduce((sum, op) => sum + op.milliseconds, 0)
  const least = ops.reduce((sum, op) => sum + op.roofline * op.milliseconds, 0)
  return { name, ops, milliseconds, roofline: milliseconds > 0 ? least / milliseconds : 0 }
}

const starred = (name: string): string => name.replace(/\b\d+\b/g, '*')
