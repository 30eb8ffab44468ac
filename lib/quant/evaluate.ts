import type { breather } from '../codes/breathe.js'
import { prepareWeights } from '../graph/constants.js'
import { type Graph, inputsOf, type Node } from '../graph/graph.js'
import { lower } from '../graph/lower.js'
import type { Scheme } from '../graph/scheme.js'
import { Session } from '../runtime/session.js'
import type { RunOptions } from './observe.js'

/** The values of an edge on all images, [images][rows][width]. */
export type Values = Float32Array

/**
 * Runs one node of a graph by itself, in float, on values of the edges that it reads.
 *
 * @returns the values of its output
 */
export async function evaluateNode(
  graph: Graph,
  node: Node,
  values: (edge: string) => Values,
  images: number,
  breathe: ReturnType<typeof breather>,
  options: RunOptions,
): Promise<Values> {
  const inputs = [...new Set(inputsOf(node))]
  const [input, ...moreInputs] = inputs
  const part: Graph = {
    ...graph,
    nodes: [node],
    edges: new Map([...inputs, node.output].map((edge) => [edge, graph.edges.get(edge) as { rows: number; width: number }])),
    input,
    moreInputs,
    output: node.output,
  }
  const joined = inputs.length === 1 ? values(input) : await sideBySide(inputs.map(values), images, breathe)
  return runGraph(part, null, joined, images, { ...options, outputs: [node.output] })
}

/**
 * Lowers a graph, runs it once and frees it.
 *
 * @param input all inputs of all images; nobody may write to it or transfer it meanwhile
 * @returns the logits of all images, or the edges called `outputs`
 */
export async function runGraph(
  graph: Graph,
  scheme: Scheme | null,
  input: Float32Array,
  images: number,
  { threads, signal, outputs }: RunOptions & { outputs?: string[] },
): Promise<Float32Array> {
  await prepareWeights(graph, scheme, signal)
  const session = new Session(lower(graph, scheme, { outputs }).plan, { threads })
  try {
    return await session.run(input, images, { signal, lent: true })
  } finally {
    session.dispose()
  }
}

/** For each image the values of one edge behind those of another. */
async function sideBySide(edges: Values[], images: number, breathe: ReturnType<typeof breather>): Promise<Values> {
  const sizes = edges.map(({ length }) => length / images)
  const size = sizes.reduce((a, b) => a + b, 0)
  const joined = new Float32Array(size * images)
  for (let image = 0; image < images; image++) {
    let at = image * size
    edges.forEach((edge, i) => {
      joined.set(edge.subarray(image * sizes[i], (image + 1) * sizes[i]), at)
      at += sizes[i]
    })
    await breathe()
  }
  return joined
}
