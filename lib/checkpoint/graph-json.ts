import type { Edge, Graph, Node } from '../graph/graph.js'
import { type ConstantShape, inferEdges, isDimension } from '../graph/validate.js'
import { checkFields, isObject, type JsonObject, show } from '../values.js'

/**
 * A graph as JSON. Names that follow from the name of a node are left out (its output, `<name>.weight`, `<name>.bias`), and so are all
 * shapes but that of the image.
 */

type FieldType = 'edge' | 'constant' | 'optional constant' | 'integer' | 'number' | 'numbers' | 'name or nothing' | 'windows or nothing'

/** Gradients are made anew from the model's graph. */
type StoredOp = Exclude<Node['op'], 'slice' | 'place' | 'repeat' | 'unmerge' | 'multiply' | `${string}Gradient`>

/** The fields of each operation beside name, op and output. */
const FIELDS: Record<StoredOp, Record<string, FieldType>> = {
  patchify: {
    input: 'edge',
    channels: 'integer',
    height: 'integer',
    width: 'integer',
    patchHeight: 'integer',
    patchWidth: 'integer',
  },
  linear: { input: 'edge', weight: 'constant', bias: 'optional constant' },
  tokens: { input: 'edge', prefix: 'constant', positions: 'constant' },
  layernorm: { input: 'edge', gamma: 'constant', beta: 'constant', eps: 'number' },
  attention: {
    q: 'edge',
    k: 'edge',
    v: 'edge',
    heads: 'integer',
    scale: 'numbers',
    logitBias: 'name or nothing',
    windows: 'windows or nothing',
  },
  gelu: { input: 'edge' },
  scale: { input: 'edge', factor: 'constant' },
  add: { left: 'edge', right: 'edge' },
  row: { input: 'edge', row: 'integer' },
  merge: { input: 'edge', height: 'integer', width: 'integer' },
  mean: { input: 'edge' },
}

/** The same as lists, which are made once; `names` are all fields that a node of an operation has. */
const FIELD_LISTS = new Map(
  Object.entries(FIELDS).map(([op, fields]) => [
    op,
    { types: Object.entries(fields), names: ['name', 'op', 'output', ...Object.keys(fields)] },
  ]),
)

/** @throws Error that names a node which is part of a gradient */
export function graphToJson({ architecture, nodes, edges, input, output }: Graph): JsonObject {
  const unstored = nodes.find(({ op }) => !Object.hasOwn(FIELDS, op))
  if (unstored) throw new Error(`${unstored.name}: nodes of gradients are not stored`)
  return {
    architecture,
    input: { name: input, ...edges.get(input) },
    output,
    nodes: nodes.map(nodeToJson),
  }
}

/** Its fields in one order, so that equal graphs are equal files. */
function nodeToJson(node: Node): JsonObject {
  const values = node as unknown as JsonObject
  const keys = ['name', 'op', 'output', ...Object.keys(FIELDS[node.op as StoredOp])]
  return Object.fromEntries(keys.flatMap((key) => (values[key] === implied(node.name, key) ? [] : [[key, values[key]]])))
}

/**
 * @param shapeOf shapes of the constants, which decide those of the edges
 * @throws Error that names the node at fault
 */
export function graphFromJson(json: unknown, shapeOf: ConstantShape): Omit<Graph, 'constants'> {
  if (!isObject(json)) throw new Error('the graph is not an object')
  checkFields(json, ['architecture', 'input', 'output', 'nodes'], 'the graph')
  const { architecture, input, output, nodes } = json
  if (typeof architecture !== 'string' || typeof output !== 'string') throw new Error('the graph lacks its architecture or output')
  if (!isObject(input) || typeof input.name !== 'string') throw new Error('the graph lacks its input')
  checkFields(input, ['name', 'rows', 'width'], 'the input of the graph')
  if (!isDimension(input.rows as number) || !isDimension(input.width as number)) throw new Error('the image of the graph has no size')
  if (!Array.isArray(nodes)) throw new Error('the graph has no nodes')
  const parsed = nodes.map(nodeFromJson)
  const edges = inferEdges(parsed, input.name, { rows: input.rows, width: input.width } as Edge, shapeOf)
  return { architecture, nodes: parsed, edges, input: input.name, output }
}

function nodeFromJson(json: unknown, index: number): Node {
  if (!isObject(json) || typeof json.name !== 'string') throw new Error(`node ${index} of the graph has no name`)
  const { name, op } = json
  const fields = FIELD_LISTS.get(op as string)
  if (!fields) throw new Error(`${name}: unknown operation ${show(op)}`)
  checkFields(json, fields.names, `the node ${name}`)
  if (isObject(json.windows)) checkFields(json.windows, WINDOWS, `the window partition of ${name}`)
  const output = json.output ?? name
  if (typeof output !== 'string') throw new Error(`${name}: output is not a string`)
  const node: JsonObject = { name, op, output }
  for (const [key, type] of fields.types) {
    const value = json[key] === undefined ? implied(name, key) : json[key]
    if (!hasType(value, type)) throw new Error(`${name}: ${key} is ${show(value)}, expected ${type}`)
    if (value !== undefined) node[key] = value
  }
  return node as unknown as Node
}

function implied(name: string, key: string): string | undefined {
  if (key === 'output') return name
  if (key === 'weight' || key === 'bias') return `${name}.${key}`
  if (key === 'gamma') return `${name}.weight`
  return key === 'beta' ? `${name}.bias` : undefined
}

const WINDOWS = ['map', 'window', 'shift']

const isPair = (value: unknown): boolean => Array.isArray(value) && value.length === 2 && value.every(Number.isSafeInteger)

function hasType(value: unknown, type: FieldType): boolean {
  switch (type) {
    case 'integer':
      return Number.isSafeInteger(value)
    case 'number':
      return typeof value === 'number'
    case 'numbers':
      return typeof value === 'number' || (Array.isArray(value) && value.every((item) => typeof item === 'number'))
    case 'name or nothing':
      return value === undefined || typeof value === 'string'
    case 'windows or nothing':
      return value === undefined || (isObject(value) && WINDOWS.every((key) => isPair(value[key])))
    case 'optional constant':
      return value === null || typeof value === 'string'
    default:
      return typeof value === 'string'
  }
}
