import type { NativePath, Plan, PlanOp } from '../runtime/addon-types.js'
import { packedBytes } from '../runtime/blobs.js'
import { kernelOrigin } from '../runtime/devices.js'
import { alike } from './alike.js'
import type { ProfiledOp } from './profile.js'

/**
 * Layers that are slower than they could be, and why.
 */
export interface Advice {
  /** The op's name: the first node that it computes. */
  layer: string
  /** The same words for all layers with the same reason. */
  reason: string
}

/** Layers below this fraction of the roofline are named, all that are alike together, */
const SLOW = 0.25
/** where they take more than this of the time. */
const WORTH_MENTIONING = 0.03
/** More than that of a product being zeros is named. */
const WASTE = 0.2

/** @param times of the ops of the plan, in their order */
export function adviceFor(plan: Pick<Plan, 'ops'>, times: ProfiledOp[], path: NativePath['name']): Advice[] {
  const total = times.reduce((sum, { milliseconds }) => sum + milliseconds, 0)
  const slow = alike(times).filter(({ milliseconds, roofline }) => roofline < SLOW && milliseconds > WORTH_MENTIONING * total)
  const farBelow = new Set(slow.flatMap(({ ops }) => ops))
  return plan.ops.flatMap((op, i) => {
    const reasons = [...slowPaths(op, path), ...waste(op)]
    if (reasons.length === 0 && farBelow.has(times[i])) reasons.push(`takes more than ${1 / SLOW} times what the roofline allows`)
    return reasons.map((reason) => ({ layer: op.name, reason }))
  })
}

/** Layers that fall to a slow path. */
export function slowLayers(plan: Pick<Plan, 'ops'>, path: NativePath['name']): Advice[] {
  return plan.ops.flatMap((op) => [...slowPaths(op, path)].map((reason) => ({ layer: op.name, reason })))
}

/** A line for each reason, with all layers that it holds for. */
export function adviceLines(advice: Advice[]): string[] {
  const layers = new Map<string, string[]>()
  for (const { layer, reason } of advice) layers.set(reason, [...(layers.get(reason) ?? []), layer])
  return [...layers].map(([reason, names]) => `${names.join(', ')}: ${reason}`)
}

/** Why an op is slower than others on this path. */
export function* slowPaths(op: PlanOp, path: NativePath['name']): Generator<string> {
  // A vector path that takes kernels from another one gains nothing by kernels of its own.
  if (kernelOrigin(path, op.op) === 'portable') {
    yield path === 'portable'
      ? 'runs on the portable path, plain C++ for any processor: see fewbit doctor for what this processor lacks'
      : `${op.op} has no ${path} kernel and runs in plain C++`
  }
}

/** What an op computes for nothing. */
export function* waste(op: PlanOp): Generator<string> {
  if (op.op === 'linearCodes') {
    const [inputs, outputs] = [op.x.width, op.y.width]
    const stored = packedBytes(outputs, inputs, 8)
    if (1 - (inputs * outputs) / stored > WASTE) {
      const sides = [
        { count: inputs, what: 'inputs', multiple: 32 },
        { count: outputs, what: 'outputs', multiple: 16 },
      ].filter(({ count, multiple }) => count % multiple !== 0)
      const padded = sides.map(({ count, multiple }) => Math.ceil(count / multiple) * multiple)
      yield `${sides.map(({ count, what }) => `${count} ${what}`).join(' and ')} are padded with zeros to ${padded.join(' and ')}`
    }
  }
}
