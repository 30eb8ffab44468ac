import { constantsOf, type Edge, type Graph, type Heads, inputEdges, inputsOf, type Node, type Windows } from './graph.js'
import type { Scheme } from './scheme.js'
import { windowsOf } from './windows.js'

/**
 * What has to hold before a graph is lowered, stored or believed: names are unique, nodes come after what they read, and shapes fit.
 */

/** No edge of an image model comes near this; products of a few such numbers stay exact. */
const LARGEST_DIMENSION = 2 ** 24

/** The shape of a constant, or undefined when there is none of that name. */
export type ConstantShape = (name: string) => number[] | undefined

/** Shapes of the constants of a graph; a weight that only the scheme holds has the shape of its code. */
export function constantShapes(graph: Pick<Graph, 'constants'>, scheme?: Pick<Scheme, 'weights'> | null): ConstantShape {
  return (name) => {
    const tensor = graph.constants.get(name)
    if (tensor) return tensor.shape
    const code = scheme?.weights.get(name)
    return code && [code.outputs, code.inputs]
  }
}

/**
 * The shape of a node's output.
 *
 * @throws Error that names the node when its inputs or constants do not fit
 */
export function outputShape(node: Node, edgeOf: (name: string) => Edge | undefined, shapeOf: ConstantShape): Edge {
  const fail = (message: string): never => {
    throw new Error(`${node.name}: ${message}`)
  }
  const read = (name: string): Edge => edgeOf(name) ?? fail(`reads the edge ${name}, which nothing before it writes`)
  const expect = (name: string, expected: number[]): void => {
    const found = shapeOf(name) ?? fail(`reads the constant ${name}, which is missing`)
    if (!sameShape(found, expected)) fail(`constant ${name} has the shape ${format(found)}, expected ${format(expected)}`)
  }
  switch (node.op) {
    case 'patchify': {
      const { channels, height, width, patchHeight, patchWidth } = node
      for (const size of [channels, height, width, patchHeight, patchWidth]) {
        if (!isDimension(size)) fail(`${size} is not a size`)
      }
      const image = read(node.input)
      if (image.rows !== channels * height || image.width !== width) {
        fail(`the image ${node.input} has ${image.rows} rows of ${image.width}, expected ${channels * height} rows of ${width}`)
      }
      const rows = Math.floor(height / patchHeight) * Math.floor(width / patchWidth)
      if (rows === 0) fail(`patches of ${patchHeight} x ${patchWidth} do not fit into ${height} x ${width}`)
      return { rows, width: channels * patchHeight * patchWidth }
    }
    case 'linear': {
      const input = read(node.input)
      const shape = shapeOf(node.weight) ?? fail(`reads the constant ${node.weight}, which is missing`)
      if (shape.length !== 2 || shape[1] !== input.width) {
        fail(`constant ${node.weight} has the shape ${format(shape)}, expected [outputs, ${input.width}]`)
      }
      if (node.bias !== null) expect(node.bias, [shape[0]])
      return { rows: input.rows, width: shape[0] }
    }
    case 'tokens': {
      const { rows, width } = read(node.input)
      const prefix = shapeOf(node.prefix) ?? fail(`reads the constant ${node.prefix}, which is missing`)
      if (prefix.length !== 2 || prefix[1] !== width) {
        fail(`constant ${node.prefix} has the shape ${format(prefix)}, expected [rows, ${width}]`)
      }
      expect(node.positions, [rows, width])
      return { rows: rows + prefix[0], width }
    }
    case 'layernorm': {
      const input = read(node.input)
      expect(node.gamma, [input.width])
      expect(node.beta, [input.width])
      if (!(node.eps >= 0 && node.eps < 1)) fail(`eps ${node.eps} is not in 0..1`)
      return { ...input }
    }
    case 'attention': {
      const [q, k, v] = inputsOf(node).map(read)
      if (![k, v].every((edge) => sameEdge(edge, q))) fail('q, k and v differ in shape')
      checkHeads(node, q, fail)
      const { tokens } = windowsOf(node, q)
      if (node.logitBias !== undefined) expect(node.logitBias, [node.heads, tokens, tokens])
      return { ...q }
    }
    case 'gelu':
      return { ...read(node.input) }
    case 'scale': {
      const input = read(node.input)
      expect(node.factor, [input.width])
      return { ...input }
    }
    case 'add':
    case 'multiply': {
      const [left, right] = inputsOf(node).map(read)
      if (!sameEdge(left, right)) {
        fail(
          `${node.op === 'add' ? 'adds' : 'multiplies'} ${left.rows} rows of ${left.width} ${node.op === 'add' ? 'to' : 'with'} ${right.rows} rows of ${right.width}`,
        )
      }
      return { ...left }
    }
    case 'row': {
      const { rows, width } = read(node.input)
      if (!(Number.isInteger(node.row) && node.row >= 0 && node.row < rows)) fail(`row ${node.row} of ${rows}`)
      return { rows: 1, width }
    }
    case 'merge': {
      const { rows, width } = read(node.input)
      for (const size of [node.height, node.width]) if (!isDimension(size)) fail(`${size} is not a size`)
      if (rows !== node.height * node.width) fail(`${rows} rows are no map of ${node.height} x ${node.width}`)
      return { rows: Math.ceil(node.height / 2) * Math.ceil(node.width / 2), width: 4 * width }
    }
    case 'mean':
      return { rows: 1, width: read(node.input).width }
    case 'slice': {
      const input = read(node.input)
      if (!isRange(node.row, node.rows, input.rows)) fail(`${node.rows} rows from row ${node.row} of ${input.rows}`)
      if (!isRange(node.column, node.width, input.width)) fail(`${node.width} columns from column ${node.column} of ${input.width}`)
      return { rows: node.rows, width: node.width }
    }
    case 'place': {
      const input = read(node.input)
      if (!isRange(node.row, input.rows, node.rows)) fail(`places ${input.rows} rows at row ${node.row} of ${node.rows}`)
      return { rows: node.rows, width: input.width }
    }
    case 'repeat': {
      const input = read(node.input)
      if (input.rows !== 1 || !isDimension(node.rows)) fail(`${input.rows} rows cannot be repeated ${node.rows} times`)
      return { rows: node.rows, width: input.width }
    }
    case 'unmerge': {
      const { rows, width } = read(node.input)
      if (!isDimension(node.height) || !isDimension(node.width)) fail(`${node.height} x ${node.width} is not a size`)
      if (rows !== Math.ceil(node.height / 2) * Math.ceil(node.width / 2) || width % 4) {
        fail(`${rows} rows of ${width} are no merged map of ${node.height} x ${node.width}`)
      }
      return { rows: node.height * node.width, width: width / 4 }
    }
    case 'linearGradient': {
      const input = read(node.input)
      const shape = shapeOf(node.weight) ?? fail(`reads the constant ${node.weight}, which is missing`)
      if (shape.length !== 2 || shape[0] !== input.width) {
        fail(`constant ${node.weight} has the shape ${format(shape)}, expected [${input.width}, inputs]`)
      }
      return { rows: input.rows, width: shape[1] }
    }
    case 'geluGradient':
    case 'layernormGradient': {
      const [input, gradient] = inputsOf(node).map(read)
      if (!sameEdge(input, gradient)) fail(`the gradient has another shape than ${node.input}`)
      if (node.op === 'layernormGradient') expect(node.gamma, [input.width])
      return { ...input }
    }
    case 'attentionGradient': {
      const [q, ...others] = inputsOf(node).map(read)
      if (!others.every((edge) => sameEdge(edge, q))) fail('q, k, v and the gradient differ in shape')
      checkHeads(node, q, fail)
      const { tokens } = windowsOf(node, q)
      if (node.logitBias !== undefined) expect(node.logitBias, [node.heads, tokens, tokens])
      return { rows: q.rows, width: 3 * q.width }
    }
    default:
      throw new Error(`${(node as Node).name}: unknown operation ${(node as { op: string }).op}`)
  }
}

function checkHeads({ heads, scale, windows }: Heads, { rows, width }: Edge, fail: (message: string) => never): void {
  if (!isDimension(heads) || width % heads) fail(`a width of ${width} does not divide into ${heads} heads`)
  const scales = typeof scale === 'number' ? [scale] : scale
  if (typeof scale !== 'number' && scale.length !== heads) fail(`${scale.length} scales for ${heads} heads`)
  for (const value of scales) {
    const float = Math.fround(value)
    if (!(float > 0 && Number.isFinite(float))) fail(`scale ${value} is not positive and finite in float32`)
  }
  if (windows) checkWindows(windows, rows, fail)
}

function checkWindows({ map, window, shift }: Windows, rows: number, fail: (message: string) => never): void {
  for (const size of [...map, ...window]) if (!isDimension(size)) fail(`${size} is not a size`)
  if (map[0] * map[1] !== rows) fail(`${rows} rows are no map of ${map.join(' x ')}`)
  for (const i of [0, 1]) {
    if (map[i] % window[i]) fail(`a map of ${map.join(' x ')} does not divide into windows of ${window.join(' x ')}`)
    if (!(Number.isInteger(shift[i]) && shift[i] >= 0 && shift[i] < window[i])) {
      fail(`a shift of ${shift.join(' x ')} is not less than a window of ${window.join(' x ')}`)
    }
  }
}

/**
 * Edges of all nodes, from the edge of the image.
 *
 * @param more the other edges that a run is given
 * @throws Error that names the first node which does not fit
 */
export function inferEdges(
  nodes: Node[],
  input: string,
  image: Edge,
  shapeOf: ConstantShape,
  more: Iterable<[string, Edge]> = [],
): Map<string, Edge> {
  const edges = new Map([[input, image], ...more])
  const names = new Set<string>()
  for (const node of nodes) {
    if (names.has(node.name)) throw new Error(`two nodes are called ${node.name}`)
    names.add(node.name)
    const edge = outputShape(node, (name) => edges.get(name), shapeOf)
    if (edges.has(node.output)) throw new Error(`${node.name}: the edge ${node.output} is written twice`)
    if (!isDimension(edge.rows) || !isDimension(edge.width)) {
      throw new Error(`${node.name}: an output of ${edge.rows} rows of ${edge.width} is out of range`)
    }
    edges.set(node.output, edge)
  }
  return edges
}

/**
 * @param scheme supplies the shapes of weights that are no constants of the graph
 * @param classifier whether the output must be one row of logits, or may be any edge
 * @throws Error that names the node, edge or constant at fault
 */
export function validateGraph(graph: Graph, scheme?: Scheme | null, classifier = true): void {
  const [image, ...more] = inputEdges(graph).map((name): [string, Edge] => {
    const edge = graph.edges.get(name)
    if (!edge) throw new Error(`the edge of the image, ${name}, is missing`)
    if (!isDimension(edge.rows) || !isDimension(edge.width)) throw new Error(`the image has ${edge.rows} rows of ${edge.width}`)
    return [name, edge]
  })
  for (const node of graph.nodes) {
    for (const name of constantsOf(node)) {
      const tensor = graph.constants.get(name)
      if (tensor && tensor.data.length !== tensor.shape.reduce((a, b) => a * b, 1)) {
        throw new Error(`constant ${name} has ${tensor.data.length} elements, its shape is ${format(tensor.shape)}`)
      }
    }
  }
  const inferred = inferEdges(graph.nodes, ...image, constantShapes(graph, scheme), more)
  for (const [name, { rows, width }] of graph.edges) {
    const edge = inferred.get(name)
    if (!edge) throw new Error(`nothing writes the edge ${name}`)
    if (edge.rows !== rows || edge.width !== width) {
      throw new Error(`the edge ${name} has ${edge.rows} rows of ${edge.width}, not ${rows} rows of ${width}`)
    }
  }
  for (const name of inferred.keys()) if (!graph.edges.has(name)) throw new Error(`the shape of the edge ${name} is missing`)
  checkOutput(graph, classifier)
}

/**
 * What is left of {@link validateGraph} for a graph whose edges {@link inferEdges} made of an image of some size, and whose constants have
 * as many elements as their shapes say.
 */
export function checkOutput({ edges, output }: Pick<Graph, 'edges' | 'output'>, classifier = true): void {
  const edge = edges.get(output)
  if (!edge) throw new Error(`the edge of the logits, ${output}, is missing`)
  if (classifier && edge.rows !== 1) throw new Error(`the edge of the logits, ${output}, has ${edge.rows} rows instead of one`)
}

/** @throws Error that names the last node whose output nothing reads: it would be computed for every image */
export function checkAllRead({ nodes, output }: Pick<Graph, 'nodes' | 'output'>): void {
  const read = new Set([output])
  for (let i = nodes.length - 1; i >= 0; i--) {
    if (!read.has(nodes[i].output)) throw new Error(`${nodes[i].name}: nothing reads its output ${nodes[i].output}`)
    for (const edge of inputsOf(nodes[i])) read.add(edge)
  }
}

export const isDimension = (size: number): boolean => Number.isInteger(size) && size > 0 && size <= LARGEST_DIMENSION

/** Whether `count` (at least one) things from `first` on are among `all`. */
const isRange = (first: number, count: number, all: number): boolean =>
  Number.isInteger(first) && first >= 0 && isDimension(count) && first + count <= all

const sameEdge = (a: Edge, b: Edge): boolean => a.rows === b.rows && a.width === b.width
const sameShape = (a: number[], b: number[]): boolean => a.length === b.length && a.every((size, i) => size === b[i])
const format = (shape: number[]): string => `[${shape.join(', ')}]`
