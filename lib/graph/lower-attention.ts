import type { Constant, PlanWindows, View } from '../runtime/addon-types.js'
import { stepsOf } from './factors.js'
import type { Format } from './formats.js'
import type { NodeOf } from './graph.js'
import type { Places } from './places.js'
import { type Code, logitsOf, probabilitiesOf } from './scheme.js'
import { type AttentionNode, scalesOf, windowRegions, windowRows, windowsOf } from './windows.js'

/**
 * Attention, of all rows or in windows, and its gradient as ops.
 */

export function lowerAttention(places: Places, node: NodeOf<'attention'>): void {
  const { name, heads, q, k, v } = node
  const common = { name, q: places.view(q), k: places.view(k), v: places.view(v), heads }
  const target = places.target(node.output)
  const windows = windowsPart(places, node)
  const p = places.scheme?.edges.get(probabilitiesOf(node))
  if (p && target.encode) {
    places.ops.push({ op: 'attentionCodes', ...common, y: target.y, encode: target.encode, ...steps(places, node, p), ...windows })
    return
  }
  const scale = scales(places, node)
  places.ops.push({ op: 'attentionF32', ...common, y: target.y, scale, ...probabilities(places, node), ...windows })
}

export function lowerAttentionGradient(places: Places, node: NodeOf<'attentionGradient'>): void {
  const { name, heads } = node
  const operands = { q: places.view(node.q), k: places.view(node.k), v: places.view(node.v), gradient: places.view(node.gradient) }
  const { y } = places.target(node.output)
  const scale = scales(places, node)
  places.ops.push({
    ...{ op: 'attentionGradient', name, ...operands, y, heads, scale },
    ...probabilities(places, node),
    ...windowsPart(places, node),
  })
}

/** What attention on codes multiplies and divides by, for each head, and how probabilities and logits are rounded. */
function steps(places: Places, node: NodeOf<'attention'>, p: Code) {
  const { heads, q, k, v } = node
  const [stepQ, stepK, stepV] = [q, k, v].map((edge) => stepsOf((places.formatOf(edge) as Format).code, heads))
  const stepP = stepsOf(p, heads)
  const factors = scalesOf(node)
  const perHead = (value: (head: number) => number) => places.pool.add(stepP.map((_, head) => value(head)))
  const logits = places.scheme?.coverage === 'full' ? places.scheme.edges.get(logitsOf(node)) : undefined
  return {
    logitScale: perHead((h) => stepQ[h] * stepK[h] * factors[h]),
    pInverseStep: perHead((h) => 1 / stepP[h]),
    outputScale: perHead((h) => (p.relative ? 1 : stepP[h]) * stepV[h]),
    encodeP: places.encoder(p, 0, places.shapeOf(q).rows),
    relative: p.relative ?? false,
    ...(logits && { logitCode: { inverseStep: Math.fround(1 / logits.step), step: logits.step } }),
  }
}

/** Where an attention node writes its probabilities (or their gradient), when somebody asked for them. */
function probabilities(places: Places, node: { name: string }): { probabilities?: View } {
  const name = probabilitiesOf(node)
  return places.isWanted(name) ? { probabilities: places.view(name) } : {}
}

function scales({ pool }: Places, node: AttentionNode): Constant {
  return pool.add(Float32Array.from(scalesOf(node)))
}

function windowsPart(places: Places, node: AttentionNode): { windows?: PlanWindows } {
  const { windows, logitBias, output } = node
  if (!windows && logitBias === undefined) return {}
  const regions = windows && windowRegions(windows)
  return {
    windows: {
      count: windowsOf(node, places.shapeOf(output)).count,
      ...(windows && { rows: windowRows(windows) }),
      ...(regions && { regions: places.pool.add(regions) }),
      ...(logitBias !== undefined && { bias: places.constant(logitBias) }),
    },
  }
}
