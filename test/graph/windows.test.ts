import { costOf } from '../../lib/graph/cost.js'
import type { Graph, Node, Windows } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import { logitsOf, probabilitiesOf, type Scheme } from '../../lib/graph/scheme.js'
import { validateGraph } from '../../lib/graph/validate.js'
import { mergeRows, windowRegions, windowRows } from '../../lib/graph/windows.js'
import type { Plan } from '../../lib/runtime/addon-types.js'
import { Session } from '../../lib/runtime/session.js'
import { runCodedReference } from '../support/coded-reference.js'
import { relativeError } from '../support/golden.js'
import { runningPaths } from '../support/paths.js'
import { normals } from '../support/random.js'
import { simpleScheme } from '../support/random-scheme.js'
import { type Matrix, runReference, windowsIn } from '../support/reference.js'
import { SMALL_SWIN, smallSwin } from '../support/small-swin.js'

const PIXELS = SMALL_SWIN.channels * SMALL_SWIN.imageHeight * SMALL_SWIN.imageWidth
const IMAGES = 3
const pixels = normals(11, IMAGES * PIXELS)
const image = (i: number) => pixels.subarray(i * PIXELS, (i + 1) * PIXELS)

async function run(plan: Plan, path?: string): Promise<Float32Array> {
  const session = new Session(plan, { path, threads: 2 })
  try {
    return await session.run(pixels, IMAGES)
  } finally {
    session.dispose()
  }
}

const references = (graph: Graph, scheme: Scheme) =>
  Float64Array.from(Array.from({ length: IMAGES }, (_, i) => [...runCodedReference(graph, scheme, image(i))]).flat())

describe('index tables', () => {
  const cases: Windows[] = [
    { map: [8, 8], window: [4, 4], shift: [2, 2] },
    { map: [14, 21], window: [7, 7], shift: [3, 3] },
    { map: [6, 4], window: [3, 4], shift: [1, 0] },
    { map: [5, 3], window: [5, 3], shift: [0, 0] },
  ]

  it.each(cases)('cut and part $map into $window, shifted by $shift', (windows) => {
    const rows = windows.map[0] * windows.map[1]
    const expected = windowsIn({ windows } as Extract<Node, { op: 'attention' }>, rows)
    expect([...windowRows(windows)]).toEqual(expected.flatMap((window) => window.rows))
    const regions = windowRegions(windows)
    expect(regions === null).toBe(windows.shift[0] + windows.shift[1] === 0)
    const tokens = windows.window[0] * windows.window[1]
    let wrong = 0
    expected.forEach((window, w) => {
      const same = (t: number, s: number) => regions === null || regions[w * tokens + t] === regions[w * tokens + s]
      for (let t = 0; t < tokens; t++) for (let s = 0; s < tokens; s++) wrong += Number(same(t, s) !== window.attends(t, s))
    })
    expect(wrong).toBe(0)
  })

  it('name the rows by hand', () => {
    expect([...windowRows({ map: [2, 4], window: [2, 2], shift: [0, 1] })]).toEqual([1, 2, 5, 6, 3, 0, 7, 4])
    expect([...(windowRegions({ map: [2, 4], window: [2, 2], shift: [0, 1] }) as Uint8Array)]).toEqual([0, 0, 0, 0, 0, 1, 0, 1])
    expect([...mergeRows(2, 3)]).toEqual([0, 3, 1, 4, 2, 5, -1, -1])
  })
})

describe('a graph with windows', () => {
  let graph: Graph
  beforeAll(async () => {
    graph = await smallSwin()
  })

  it.each(runningPaths)('computes in float what the reference computes, on %s', async (path) => {
    const attention = graph.nodes.find(({ name }) => name === 'stages.1.blocks.1.attention') as { name: string }
    const names = ['stages.0.blocks.1.attention', probabilitiesOf(attention), 'stages.3.merge', 'norm', 'mean', 'head']
    const expected = Array.from({ length: IMAGES }, (_, i) => runReference(graph, image(i)))
    const all = expected.flatMap((edges) => names.flatMap((name) => [...(edges.get(name) as Matrix).data]))
    for (const batch of [1, 4]) {
      const { plan, outputs } = lower(graph, null, { outputs: names, batch })
      expect(outputs[1]).toEqual({ name: names[1], rows: 2 * 24, width: 12 })
      expect(relativeError(await run(plan, path), all)).toBeLessThan(3e-6)
    }
    const logits = expected.flatMap((edges) => [...(edges.get('head') as Matrix).data])
    expect(relativeError(await run(lower(graph, null).plan, path), logits)).toBeLessThan(3e-6)
  })

  it('counts the products of windows', () => {
    const { nodes, operands } = costOf(graph)
    // 8 windows of 12 tokens, 12 wide; q k^T and P v.
    expect(nodes.find(({ name }) => name === 'stages.0.blocks.1.attention')?.macs).toBe(2 * 8 * 12 * 12 * 12)
    expect(operands.find(({ name }) => name === 'stages.0.blocks.1.attention.probabilities')?.elements).toBe(8 * 2 * 12 * 12)
  })

  it('means what the codes mean, with the same bits on every path and for every batch', async () => {
    const scheme = simpleScheme(graph, image(0))
    const first = await run(lower(graph, scheme, { batch: 1 }).plan, 'portable')
    expect(relativeError(first, references(graph, scheme))).toBeLessThan(1e-6)
    const distance = relativeError(first.subarray(0, SMALL_SWIN.classes), (runReference(graph, image(0)).get('head') as Matrix).data)
    expect(distance).toBeGreaterThan(1e-3)
    expect(distance).toBeLessThan(0.6)
    for (const path of runningPaths) {
      for (const batch of [1, 2, 8]) expect(await run(lower(graph, scheme, { batch }).plan, path)).toEqual(first)
    }
  })

  it('rounds logits when the scheme covers all', async () => {
    const scheme = simpleScheme(graph, image(0), 'full')
    const first = await run(lower(graph, scheme, { batch: 1 }).plan, 'portable')
    expect(relativeError(first, references(graph, scheme))).toBeLessThan(1e-6)
    for (const path of runningPaths) expect(await run(lower(graph, scheme).plan, path)).toEqual(first)
    const name = logitsOf({ name: 'stages.0.blocks.0.attention' })
    const code = scheme.edges.get(name) as NonNullable<ReturnType<Scheme['edges']['get']>>
    scheme.edges.set(name, { ...code, step: 4 * code.step })
    expect(await run(lower(graph, scheme).plan)).not.toEqual(first)
    expect(relativeError(await run(lower(graph, scheme).plan), references(graph, scheme))).toBeLessThan(1e-6)
    scheme.edges.set(name, { bits: 2, family: 'uniform', levels: [-2, -1, 0, 1], step: 1 })
    expect(() => lower(graph, scheme)).toThrow('a code of logits is uniform from -128 to 127')
  })

  it.each<[string, object, string]>([
    ['a map of another size', { windows: { map: [12, 9], window: [3, 4], shift: [0, 0] } }, '96 rows are no map of 12 x 9'],
    ['windows that do not fit', { windows: { map: [12, 8], window: [5, 4], shift: [0, 0] } }, 'does not divide into windows of 5 x 4'],
    ['a shift of a window', { windows: { map: [12, 8], window: [3, 4], shift: [3, 0] } }, 'a shift of 3 x 0 is not less than a window'],
    ['a bias of all rows', { windows: undefined }, 'has the shape [2, 12, 12], expected [2, 96, 96]'],
    ['too few scales', { scale: [1] }, '1 scales for 2 heads'],
    ['a scale of 0', { scale: [1, 0] }, 'scale 0 is not positive'],
  ])('refuses %s', (_, change, message) => {
    const nodes = graph.nodes.map((node) => (node.name === 'stages.0.blocks.1.attention' ? { ...node, ...change } : node)) as Node[]
    expect(() => validateGraph({ ...graph, nodes })).toThrow(message)
  })
})

/** Patches, a layer whose rows are merged for the next, whose output is read by a product and by a mean. */
describe('merged and averaged codes', () => {
  const edge = (rows: number, width: number) => ({ rows, width })
  const shapes: [string, number, number][] = [
    ['first', 10, 18],
    ['second', 9, 40],
    ['third', 7, 9],
    ['left', 5, 9],
    ['right', 5, 7],
  ]
  const linear = (name: string, input: string): Node => ({ name, output: name, op: 'linear', input, weight: `${name}.weight`, bias: null })
  const graph: Graph = {
    architecture: 'test',
    input: 'pixels',
    output: 'logits',
    nodes: [
      {
        ...{ name: 'patches', output: 'patches', op: 'patchify', input: 'pixels' },
        ...{ channels: 3, height: 24, width: 24, patchHeight: 2, patchWidth: 3 },
      },
      linear('first', 'patches'),
      { name: 'merged', output: 'merged', op: 'merge', input: 'first', height: 12, width: 8 },
      linear('second', 'merged'),
      { name: 'mean of codes', output: 'mean of codes', op: 'mean', input: 'second' },
      linear('third', 'second'),
      { name: 'mean of floats', output: 'mean of floats', op: 'mean', input: 'third' },
      linear('left', 'mean of codes'),
      linear('right', 'mean of floats'),
      { name: 'logits', output: 'logits', op: 'add', left: 'left', right: 'right' },
    ],
    edges: new Map([
      ['pixels', edge(72, 24)],
      ['patches', edge(96, 18)],
      ['first', edge(96, 10)],
      ['merged', edge(24, 40)],
      ['second', edge(24, 9)],
      ['mean of codes', edge(1, 9)],
      ['third', edge(24, 7)],
      ['mean of floats', edge(1, 7)],
      ['left', edge(1, 5)],
      ['right', edge(1, 5)],
      ['logits', edge(1, 5)],
    ]),
    constants: new Map(
      shapes.map(([name, outputs, inputs], i) => [
        `${name}.weight`,
        { shape: [outputs, inputs], data: normals(20 + i, outputs * inputs).map((w) => w / Math.sqrt(inputs)) },
      ]),
    ),
  }

  it('are what the reference computes, in floats and in codes', async () => {
    const float = Array.from({ length: IMAGES }, (_, i) => [...(runReference(graph, image(i)).get('logits') as Matrix).data]).flat()
    const scheme = simpleScheme(graph, image(0))
    const first = await run(lower(graph, scheme, { batch: 1 }).plan, 'portable')
    expect(relativeError(first, references(graph, scheme))).toBeLessThan(1e-6)
    for (const path of runningPaths) {
      expect(relativeError(await run(lower(graph, null).plan, path), float)).toBeLessThan(3e-6)
      expect(await run(lower(graph, scheme).plan, path)).toEqual(first)
    }
    const { ops } = lower(graph, scheme).plan
    expect(ops.find(({ name }) => name === 'merged')).toMatchObject({ op: 'gather', elementBytes: 1, zero: 128 })
    expect(ops.find(({ name }) => name === 'mean of codes')).toHaveProperty('decode.offset', 128)
    expect(ops.find(({ name }) => name === 'mean of floats')).not.toHaveProperty('decode')
  })

  it('refuses rows that would have to be encoded while they are copied', () => {
    const nodes = [...graph.nodes.slice(0, 2), linear('also', 'first'), ...graph.nodes.slice(2)]
    const constants = new Map(graph.constants).set('also.weight', { shape: [5, 10], data: normals(3, 50) })
    const edges = new Map(graph.edges).set('also', edge(96, 5)).set('mean of also', edge(1, 5)).set('sum', edge(1, 5))
    nodes.push({ name: 'mean of also', output: 'mean of also', op: 'mean', input: 'also' }, linear('last', 'mean of also'))
    constants.set('last.weight', { shape: [5, 5], data: normals(4, 25) })
    edges.set('last', edge(1, 5))
    nodes.push({ name: 'sum', output: 'sum', op: 'add', left: 'logits', right: 'last' })
    const both: Graph = { ...graph, nodes, constants, edges, output: 'sum' }
    const scheme = simpleScheme(both, image(0))
    expect(() => lower(both, scheme)).toThrow('merged: the edges first and merged have different codes, and rows are only copied')
    scheme.edges.set('merged', scheme.edges.get('first') as NonNullable<ReturnType<Scheme['edges']['get']>>)
    expect(() => lower(both, scheme)).not.toThrow()
  })

  it.each<[string, object, string]>([
    ['a map of another size', { height: 11 }, 'merged: 96 rows are no map of 11 x 8'],
    ['half rows', { height: 48.5 }, 'merged: 48.5 is not a size'],
  ])('refuses %s', (_, change, message) => {
    const nodes = graph.nodes.map((node) => (node.name === 'merged' ? { ...node, ...change } : node)) as Node[]
    expect(() => validateGraph({ ...graph, nodes })).toThrow(message)
  })
})
