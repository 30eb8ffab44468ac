import { graphToJson } from '../../lib/checkpoint/graph-json.js'
import { gradientGraph } from '../../lib/graph/gradient.js'
import type { Graph, Node } from '../../lib/graph/graph.js'
import { type Code, probabilitiesOf, type Scheme } from '../../lib/graph/scheme.js'
import { validateGraph } from '../../lib/graph/validate.js'
import { validateScheme } from '../../lib/graph/validate-scheme.js'
import { normals } from '../support/random.js'
import { simpleScheme } from '../support/random-scheme.js'
import { SMALL_SHAPE, smallVit } from '../support/small-vit.js'

let graph: Graph
let scheme: Scheme
const image = normals(1, SMALL_SHAPE.channels * SMALL_SHAPE.imageHeight * SMALL_SHAPE.imageWidth)
beforeAll(async () => {
  graph = await smallVit()
  scheme = simpleScheme(graph, image)
})

const withNode = (name: string, change: object): Graph => ({
  ...graph,
  nodes: graph.nodes.map((node) => (node.name === name ? ({ ...node, ...change } as Node) : node)),
})
const withConstant = (name: string, shape: number[], elements = shape.reduce((a, b) => a * b, 1)): Graph => ({
  ...graph,
  constants: new Map([...graph.constants, [name, { shape, data: new Float32Array(elements) }]]),
})

it('accepts what it should', () => {
  expect(() => validateGraph(graph)).not.toThrow()
  expect(() => validateScheme(graph, scheme)).not.toThrow()
})

it.each<[string, () => Graph, string]>([
  ['an edge that nothing writes', () => withNode('norm', { input: 'nowhere' }), 'norm: reads the edge nowhere'],
  ['a node before its input', () => ({ ...graph, nodes: [...graph.nodes].reverse() }), 'which nothing before it writes'],
  ['a cycle', () => withNode('layers.0.norm1', { input: 'layers.1.sum' }), 'layers.0.norm1: reads the edge layers.1.sum'],
  ['two nodes of one name', () => withNode('layers.1.norm1', { name: 'layers.0.norm1' }), 'two nodes are called layers.0.norm1'],
  ['an edge written twice', () => withNode('layers.1.norm1', { output: 'layers.0.norm1' }), 'the edge layers.0.norm1 is written twice'],
  [
    'a weight of the wrong width',
    () => withConstant('head.weight', [11, 35]),
    'constant head.weight has the shape [11, 35], expected [outputs, 36]',
  ],
  ['a bias of the wrong length', () => withConstant('head.bias', [12]), 'constant head.bias has the shape [12], expected [11]'],
  ['a constant without its elements', () => withConstant('head.bias', [11], 10), 'constant head.bias has 10 elements'],
  ['a missing constant', () => withNode('norm', { gamma: 'g' }), 'norm: reads the constant g, which is missing'],
  ['heads that do not divide', () => withNode('layers.0.attention', { heads: 5 }), 'a width of 36 does not divide into 5 heads'],
  ['a scale beyond float32', () => withNode('layers.0.attention', { scale: 1e308 }), 'layers.0.attention: scale 1e+308'],
  [
    'a scale that is 0 as float32',
    () => withNode('layers.0.attention', { scale: 1e-60 }),
    'scale 1e-60 is not positive and finite in float32',
  ],
  ['a scale that is no number', () => withNode('layers.0.attention', { scale: Number.NaN }), 'layers.0.attention: scale NaN'],
  ['a row that is not there', () => withNode('class_token', { row: 8 }), 'class_token: row 8 of 8'],
  ['a patch larger than the image', () => withNode('patches', { patchHeight: 22 }), 'do not fit into 21 x 14'],
  ['an image of another size', () => withNode('patches', { width: 15 }), 'the image pixels has 63 rows of 14'],
  ['an unknown operation', () => withNode('norm', { op: 'relu' }), 'norm: unknown operation relu'],
  ['logits of several rows', () => ({ ...graph, output: 'embeddings' }), 'has 8 rows instead of one'],
  [
    'a wrong edge',
    () => ({ ...graph, edges: new Map([...graph.edges, ['norm', { rows: 2, width: 36 }]]) }),
    'the edge norm has 1 rows of 36, not 2',
  ],
  [
    'an edge too many',
    () => ({ ...graph, edges: new Map([...graph.edges, ['more', { rows: 1, width: 1 }]]) }),
    'nothing writes the edge more',
  ],
])('refuses %s', (_, broken, message) => {
  expect(() => validateGraph(broken())).toThrow(message)
})

const instead = (node: object): Graph => withNode('class_token', { ...node, row: 0 })
const back = { gradient: 'layers.1.sum', gamma: 'norm.weight', eps: 1e-6 }

it.each<[string, object, string]>([
  ['rows that are not there', { op: 'slice', rows: 9, column: 0, width: 36 }, 'class_token: 9 rows from row 0 of 8'],
  ['columns that are not there', { op: 'slice', rows: 1, column: 1, width: 36 }, 'class_token: 36 columns from column 1 of 36'],
  ['no columns', { op: 'slice', rows: 1, column: 0, width: 0 }, 'class_token: 0 columns from column 0 of 36'],
  ['too small a place', { op: 'place', rows: 7 }, 'class_token: places 8 rows at row 0 of 7'],
  ['a transposed weight of another width', { op: 'linearGradient', weight: 'head.weight' }, 'expected [36, inputs]'],
  ['a gradient of another shape', { op: 'geluGradient', gradient: 'patches' }, 'the gradient has another shape than layers.1.sum'],
  ['a short gamma', { op: 'layernormGradient', ...back, gamma: 'head.bias' }, 'has the shape [11], expected [36]'],
  ['factors of different shapes', { op: 'multiply', left: 'patches', right: 'layers.1.sum' }, 'multiplies 6 rows'],
])('refuses %s in a gradient', (_, node, message) => {
  expect(() => validateGraph(instead(node))).toThrow(message)
})

it('stores no gradients', () => {
  expect(() => graphToJson(gradientGraph(graph).graph)).toThrow('backward: nodes of gradients are not stored')
})

const edge = 'layers.0.norm1'
const withCode = (name: string, change: object): Scheme => ({
  ...scheme,
  edges: new Map([...scheme.edges, [name, { ...(scheme.edges.get(name) as object), ...change } as never]]),
})
const withWeight = (change: object): Scheme => ({
  ...scheme,
  weights: new Map([...scheme.weights, ['head.weight', { ...(scheme.weights.get('head.weight') as object), ...change } as never]]),
})
const eight = { bits: 8, family: 'uniform', step: 1, levels: Array.from({ length: 256 }, (_, i) => i - 60) }
const four = { bits: 2, family: 'uniform', step: 1 }

it.each<[string, () => Scheme, string]>([
  ['9 bits', () => withCode(edge, { bits: 9 }), '9 bits, expected 2..8'],
  ['too few levels', () => withCode(edge, { bits: 8, levels: [0, 1] }), '2 levels for 8 bits'],
  ['levels out of order', () => withCode(edge, { ...four, family: 'v2sf', levels: [0, 2, 1, 3] }), 'levels do not ascend'],
  ['levels without 0', () => withCode(edge, { ...four, levels: [1, 2, 3, 4] }), 'no level is 0'],
  ['levels beyond a byte', () => withCode(edge, { ...four, family: 'v2sf', levels: [-1, 0, 1, 255] }), 'do not fit into a byte'],
  ['fractions', () => withCode(edge, { ...four, levels: [0, 0.5, 1, 2] }), 'a level is not an integer'],
  ['a uniform code with gaps', () => withCode(edge, { ...four, levels: [0, 0, 2, 3] }), 'not consecutive'],
  ['an unknown family', () => withCode(edge, { ...four, family: 'cosine', levels: [0, 1, 2, 3] }), 'unknown family of codes cosine'],
  ['a step that is no float32', () => withCode(edge, { step: 0.1 }), 'the step 0.1 is not a positive float32'],
  ['a step of 0', () => withCode(edge, { step: 0 }), 'the step 0 is not a positive float32'],
  [
    'negative probabilities',
    () => withCode(probabilitiesOf({ name: 'layers.0.attention' }), { ...four, levels: [-2, -1, 0, 1] }),
    'no negative levels',
  ],
  ['relative queries', () => withCode('layers.0.attention.query', { relative: true }), 'only codes of probabilities are relative'],
  ['a fine row of consecutive levels', () => withCode(edge, { fineFirst: -128 }), 'consecutive levels have no fine first row'],
  [
    'a fine row of patches, whose first is as good as any',
    () => withCode('patches', { ...four, family: 'codebook', levels: [-2, 0, 1, 5], fineFirst: -128 }),
    'nothing writes it that makes a first row fine',
  ],
  [
    'a first row that begins above its levels',
    () => withCode('layers.0.norm1', { ...four, family: 'codebook', levels: [-9, 0, 1, 5], fineFirst: -8 }),
    'levels -9..5 do not lie in a first row that begins at -8',
  ],
  [
    'queries whose first row begins elsewhere',
    () => withCode('layers.0.attention.query', { ...four, family: 'codebook', levels: [-9, 0, 1, 5], fineFirst: -100 }),
    'a fine first row cannot begin at -100 there',
  ],
  ['an odd zero point', () => withCode('layers.0.mlp.gelu', { ...eight, levels: eight.levels.map((level) => level - 1) }), 'is odd'],
  [
    'queries below -128',
    () => withCode('layers.0.attention.query', { ...eight, levels: eight.levels.map((level) => level - 140) }),
    'neither in -128..127 nor in 0..255',
  ],
  [
    'queries beyond 127',
    () => withCode('layers.0.attention.query', { ...four, family: 'v2sf', levels: [0, 1, 2, 200] }),
    'levels above 127 do not fit attention',
  ],
  ['a weight of other size', () => withWeight({ outputs: 12, steps: new Float32Array(12).fill(1) }), 'is 11 x 36, its code 12 x 36'],
  ['too few packed bytes', () => withWeight({ packed: new Uint8Array(10) }), '10 bytes of codes'],
  ['no factors', () => withCode(edge, { factors: new Float32Array(0) }), 'no factors'],
  ['a negative factor', () => withCode(edge, { factors: Float32Array.of(-1) }), 'is not a positive float32'],
  [
    'a factor that is nothing beside the step',
    () => withCode(edge, { factors: Float32Array.of(1e-44) }),
    'the step 0 is not a positive float32',
  ],
  ['O-2SF of one step', () => withCode(edge, { ...four, family: 'o2sf', levels: [-2, -1, 0, 1] }), 'O-2SF without factors'],
  [
    'factors that a linear layer would have to read',
    () => withCode(edge, { factors: Float32Array.of(1, 2) }),
    'layers.0.attention.query: layers.0.norm1 has factors, which a linear layer cannot read',
  ],
  [
    'factors that do not divide the heads',
    () => withCode('layers.0.attention.key', { factors: Float32Array.of(1, 2) }),
    'layers.0.attention: 2 factors do not divide 3 heads',
  ],
  [
    'factors that do not divide the heads of probabilities',
    () => withCode('layers.0.attention.probabilities', { factors: Float32Array.of(1, 2) }),
    'layers.0.attention: 2 factors do not divide 3 heads',
  ],
  [
    'factors that do not divide the columns',
    () => withCode('layers.0.attention.key', { factors: new Float32Array(5).fill(1) }),
    'layers.0.attention.key: 5 factors do not divide the 36 columns',
  ],
  ['an unknown coverage', () => ({ ...scheme, coverage: 'most' as never }), 'unknown coverage most'],
  ['too few steps', () => withWeight({ steps: new Float32Array(3).fill(1) }), '3 steps for 11 outputs'],
  ['a weight step of 0', () => withWeight({ steps: new Float32Array(11) }), 'the step 0 is not a positive float32'],
])('refuses a scheme with %s', (_, broken, message) => {
  expect(() => validateScheme(graph, broken())).toThrow(message)
})

const full = (name: string, change: Partial<Code>): Scheme => {
  const scheme = simpleScheme(graph, image, 'full')
  return { ...scheme, edges: new Map([...scheme.edges, [name, { ...(scheme.edges.get(name) as Code), ...change }]]) }
}
const stream = (factor: number): Partial<Code> => ({ factors: new Float32Array(36).fill(1).fill(factor, 7, 9) })
const unsigned: Partial<Code> = { bits: 2, family: 'uniform', levels: [0, 1, 2, 3] }

it.each<[string, () => Scheme, string]>([
  ['a factor that is no shift', () => full('embeddings', stream(3)), 'layers.0.norm1: the factors of embeddings are not powers of two'],
  ['a factor below 1', () => full('embeddings', stream(0.5)), 'the factors of embeddings are not powers of two in 1..128'],
  ['a shift beyond 7', () => full('layers.1.sum', stream(256)), 'norm: the factors of class_token are not powers of two in 1..128'],
  ['a shift beyond 6 of bytes', () => full('embeddings', { ...unsigned, ...stream(128) }), 'are not powers of two in 1..64'],
  ['a table for GELU', () => full('layers.0.mlp.fc1', { family: 'codebook' }), 'gelu input layers.0.mlp.fc1: not a uniform code or O-2SF'],
  [
    'a factor for GELU that is no power of two',
    () => full('layers.0.mlp.fc1', { factors: Float32Array.of(3) }),
    'factors are not powers of two',
  ],
  [
    'a step before GELU that is too small for factors',
    () => full('layers.0.mlp.fc1', { step: Math.fround(9e-37), factors: Float32Array.of(2) }),
    'is out of range of one with factors',
  ],
  [
    'a factor for GELU that is too large',
    () => full('layers.0.mlp.fc1', { factors: Float32Array.of(2 ** 30) }),
    'a factor is out of range',
  ],
  ['factors for logits', () => full('layers.0.attention.logits', { factors: Float32Array.of(1) }), 'not a uniform code of one step'],
])('refuses a scheme of full coverage with %s', (_, broken, message) => {
  expect(() => validateScheme(graph, full('embeddings', stream(128)))).not.toThrow()
  expect(() => validateScheme(graph, broken())).toThrow(message)
})

it('refuses factors where no kernel writes them', () => {
  const nodes = graph.nodes.map((node) => (node.name === 'layers.0.attention.output' ? { ...node, input: 'layers.0.norm1' } : node))
  const broken = { ...graph, nodes } as Graph
  const scheme = simpleScheme(broken, image, 'full')
  scheme.edges.set('layers.0.attention', { ...(scheme.edges.get('embeddings') as Code), ...stream(2) })
  expect(() => validateScheme(broken, scheme)).toThrow('has factors, which only linear layers and LayerNorm can write')
})
