import type { Observation } from '../../codes/observation.js'
import type { Graph } from '../../graph/graph.js'
import { type Calibration, observe, type RunOptions } from '../observe.js'
import type { ActivationOperand } from '../operands.js'

/**
 * What is known of the operands, by name: of an edge whose readers all read one and the same row (the class token before the head) only
 * that row.
 */
export async function observeRead(
  graph: Graph,
  operands: ActivationOperand[],
  calibration: Calibration,
  options: RunOptions,
): Promise<{ observations: Map<string, Observation>; logits: Float32Array }> {
  const names = new Map<string, string>()
  const read = operands.map((operand) => {
    const [view = operand.name, ...others] = new Set(operand.readers.map(({ input }) => input))
    const name = others.length === 0 ? view : operand.name
    names.set(name, operand.name)
    const { rows = operand.elements / operand.width } = graph.edges.get(name) ?? {}
    return { ...operand, name, elements: rows * operand.width }
  })
  const { observations, logits } = await observe(graph, read, calibration, options)
  return { observations: new Map([...observations].map(([name, seen]) => [names.get(name) as string, seen])), logits }
}
