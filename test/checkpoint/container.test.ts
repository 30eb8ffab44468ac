import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openCheckpoint } from '../../lib/checkpoint/checkpoint.js'
import { type ContainerParts, containerBytes, readContainer, writeContainer } from '../../lib/checkpoint/container.js'
import { openSafetensors } from '../../lib/checkpoint/safetensors.js'
import { type TensorToWrite, writeSafetensors } from '../../lib/checkpoint/safetensors-write.js'
import { codebook } from '../../lib/codes/code.js'
import { costOf } from '../../lib/graph/cost.js'
import type { Graph } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import { operandsOf } from '../../lib/graph/operands.js'
import type { Code, Scheme, WeightCode } from '../../lib/graph/scheme.js'
import { Session } from '../../lib/runtime/session.js'
import { temporaryFolder } from '../support/folder.js'
import { normals } from '../support/random.js'
import { simpleScheme, weightCode } from '../support/random-scheme.js'
import { SMALL_SWIN, smallSwin } from '../support/small-swin.js'
import { SMALL_SHAPE, smallVit } from '../support/small-vit.js'

const folder = temporaryFolder()
const pixels = normals(5, 3 * SMALL_SHAPE.channels * SMALL_SHAPE.imageHeight * SMALL_SHAPE.imageWidth)
let parts: ContainerParts
let path: string

beforeAll(async () => {
  const graph = await smallVit()
  const labels = Array.from({ length: SMALL_SHAPE.classes }, (_, i) => `class "${i}"`)
  const preprocessing = { mean: [0.5, 0.1], nested: { ü: null } }
  parts = { graph, scheme: simpleScheme(graph, pixels), preprocessing, labels, report: { divergence: 0.25 } }
  path = join(folder.path, 'model.fewbit')
  await writeContainer(path, parts)
})

async function logits(graph: Graph, scheme: Scheme): Promise<Float32Array> {
  const session = new Session(lower(graph, scheme).plan)
  try {
    return await session.run(pixels, 3)
  } finally {
    session.dispose()
  }
}

describe('what was written', () => {
  it('comes back the same, from a file, from bytes and as a checkpoint', async () => {
    for (const container of [await readContainer(path), await readContainer(await readFile(path)), await openCheckpoint(path)]) {
      if (container.kind !== 'container') throw new Error('taken for a checkpoint')
      const { graph, scheme, preprocessing, labels, report } = container
      expect({ preprocessing, labels, report }).toEqual({ ...parts, graph: undefined, scheme: undefined })
      expect(scheme).toEqual(parts.scheme)
      const constants = new Map([...parts.graph.constants].filter(([name]) => !parts.scheme.weights.has(name)))
      expect(graph).toEqual({ ...parts.graph, constants })
      expect(await logits(graph, scheme)).toEqual(await logits(parts.graph, parts.scheme))
      expect(costOf(graph, scheme)).toEqual(costOf(parts.graph, parts.scheme))
    }
  })

  it('is the same file when it is written again from what was read', async () => {
    const again = join(folder.path, 'again.fewbit')
    const bytes = await writeContainer(again, await readContainer(path))
    const content = await readFile(again)
    expect([bytes, containerBytes(parts)]).toEqual([content.length, content.length])
    expect(Buffer.compare(content, await readFile(path))).toBe(0)
  })

  it('is the same file whatever the order of the fields of its nodes', async () => {
    const nodes = parts.graph.nodes.map((node) => Object.fromEntries(Object.entries(node).reverse()) as unknown as Graph['nodes'][number])
    const reversed = join(folder.path, 'reversed.fewbit')
    await writeContainer(reversed, { ...parts, graph: { ...parts.graph, nodes } })
    expect(Buffer.compare(await readFile(reversed), await readFile(path))).toBe(0)
  })

  it('comes back the same with windows, merged rows and scales of heads', async () => {
    const graph = await smallSwin()
    const image = normals(5, SMALL_SWIN.channels * SMALL_SWIN.imageHeight * SMALL_SWIN.imageWidth)
    const scheme = simpleScheme(graph, image)
    const swin = join(folder.path, 'swin.fewbit')
    await writeContainer(swin, { ...parts, graph, scheme })
    const back = await readContainer(swin)
    expect(back.graph.nodes).toEqual(graph.nodes)
    expect(back.graph.edges).toEqual(graph.edges)
    expect(back.scheme).toEqual(scheme)
  })

  it('keeps names that do not follow from the nodes, layers without bias, and codes of any levels', async () => {
    const graph: Graph = { ...parts.graph, constants: new Map(parts.graph.constants), nodes: [...parts.graph.nodes] }
    graph.nodes = graph.nodes.map((node) => {
      if (node.op === 'linear' && node.name === 'layers.0.attention.query') return { ...node, bias: null }
      if (node.op === 'linear' && node.name === 'layers.0.mlp.fc2') return { ...node, weight: 'other' }
      return node
    })
    graph.constants.set('other', graph.constants.get('layers.0.mlp.fc2.weight') as never)
    const scheme: Scheme = { ...parts.scheme, weights: new Map(parts.scheme.weights), edges: new Map(parts.scheme.edges) }
    scheme.weights.set('other', weightCode(graph, 'other', 2))
    scheme.weights.delete('layers.0.mlp.fc2.weight')
    scheme.edges.set('layers.0.norm2', { bits: 3, family: 'codebook', levels: [-128, -9, -1, 0, 0, 7, 30, 127], step: Math.fround(0.03) })
    const other = join(folder.path, 'other.fewbit')
    await writeContainer(other, { ...parts, graph, scheme })
    const back = await readContainer(other)
    expect(back.graph.nodes).toEqual(graph.nodes)
    expect(back.scheme).toEqual(scheme)
    expect(await logits(back.graph, back.scheme)).toEqual(await logits(graph, scheme))
  })
})

describe('full coverage', () => {
  it('comes back the same, factors included', async () => {
    const scheme = simpleScheme(parts.graph, pixels, 'full')
    const perHead = scheme.edges.get('layers.0.attention.query') as Code
    scheme.edges.set('layers.0.attention.query', { ...perHead, factors: Float32Array.of(1, 0.3, 7) })
    const file = join(folder.path, 'full.fewbit')
    await writeContainer(file, { ...parts, scheme })
    const back = await readContainer(file)
    expect(back.scheme).toEqual(scheme)
    expect([...back.scheme.edges.values()].filter(({ family }) => family === 'o2sf').length).toBeGreaterThan(1)
    expect(await logits(back.graph, back.scheme)).toEqual(await logits(parts.graph, scheme))
    expect(costOf(back.graph, back.scheme)).toEqual(costOf(parts.graph, scheme))
  })

  it('is a newer version of the format; without it the file is what older packages read', async () => {
    const file = await openSafetensors(path)
    expect(file.metadata.version).toBe('1')
    expect(Object.keys(JSON.parse(file.metadata.scheme))).toEqual(['weights', 'edges'])
    await file.close()
    expect((await readContainer(path)).scheme.coverage).toBe('partial')
    const scheme = simpleScheme(parts.graph, pixels, 'full')
    const versionOf = async () => {
      const name = join(folder.path, 'version.fewbit')
      await writeContainer(name, { ...parts, scheme })
      const written = await openSafetensors(name)
      await written.close()
      return written.metadata.version
    }
    const [norm, plain] = ['layers.0.norm1', scheme.edges.get('layers.0.norm1') as Code]
    scheme.edges.set(norm, { ...codebook(2, 0.5, [-9, 0, 1, 100]), fineFirst: -128 })
    expect(await versionOf()).toBe('4')
    expect((await readContainer(join(folder.path, 'version.fewbit'))).scheme.edges.get(norm)).toEqual(scheme.edges.get(norm))
    scheme.edges.set(norm, plain)
    expect(await versionOf()).toBe('3')
    scheme.edges.forEach(({ relative, ...code }, edge) => scheme.edges.set(edge, code))
    expect(await versionOf()).toBe('2')
  })
})

it('costs little beside the codes, even for the smallest of the usual models at two bits', async () => {
  const graph = await smallVit({ hidden: 192, intermediate: 768, layers: 12, classes: 1000, distillationHead: false })
  const scheme: Scheme = { weights: new Map(), edges: new Map(), coverage: 'full' }
  const outliers = Float32Array.from({ length: 192 }, (_, i) => (i % 9 === 4 ? 16 : 1))
  for (const { kind, name } of operandsOf(graph, scheme)) {
    // What a quantization chooses: a table for softmax and GELU, O-2SF for the residual stream, consecutive levels for the others.
    const table = kind === 'probabilities' || name.endsWith('gelu')
    const low = kind === 'probabilities' ? 0 : -128
    const levels = Array.from({ length: 256 }, (_, i) => low + i)
    const code: Code = { bits: 8, family: table ? 'v2sf' : 'uniform', levels, step: Math.fround(0.0123456) }
    if (kind === 'weight') scheme.weights.set(name, weightCode(graph, name, 2))
    else scheme.edges.set(name, kind === 'residual' ? { ...code, family: 'o2sf', factors: outliers } : code)
  }
  const labels = Array.from({ length: 1000 }, (_, i) => `the label of class ${i}`)
  let bits = 0
  for (const code of scheme.weights.values()) bits += code.outputs * (code.inputs * code.bits + 32)
  for (const [name, { data }] of graph.constants) if (!scheme.weights.has(name)) bits += 32 * data.length
  expect(containerBytes({ ...parts, graph, scheme, labels })).toBeLessThanOrEqual((1.02 * bits) / 8 + 65536)
})

describe('refuses', () => {
  type Metadata = Record<string, string>

  /** The container with changed metadata and tensors. */
  async function changed(metadata: (old: Metadata) => Metadata, tensors: (old: TensorToWrite[]) => TensorToWrite[] = (old) => old) {
    const file = await openSafetensors(path)
    const old: TensorToWrite[] = []
    for (const name of file.names()) {
      const { dtype, shape } = file.info(name) as { dtype: TensorToWrite['dtype']; shape: number[] }
      old.push({ name, dtype, shape, data: await file.raw(name) })
    }
    await file.close()
    const broken = join(folder.path, 'broken.fewbit')
    await writeSafetensors(broken, tensors(old), metadata(file.metadata))
    return readContainer(broken)
  }
  const edit = (key: string, change: (value: never) => unknown) => (old: Metadata) => ({
    ...old,
    [key]: JSON.stringify(change(JSON.parse(old[key]) as never)),
  })
  const editNode = (name: string, change: object) =>
    edit('graph', (graph: { nodes: { name: string }[] }) => ({
      ...graph,
      nodes: graph.nodes.map((node) => (node.name === name ? { ...node, ...change } : node)),
    }))
  const editCode = (name: string, change: object) =>
    edit('scheme', (scheme: { edges: Record<string, object> }) => ({
      ...scheme,
      edges: { ...scheme.edges, [name]: { ...scheme.edges[name], ...change } },
    }))
  const editWeight = (value: unknown) =>
    edit('scheme', (scheme: { weights: object }) => ({ ...scheme, weights: { ...scheme.weights, 'head.weight': value } }))

  it('with one name of the file, also when it is bytes', async () => {
    const bytes = await readFile(path)
    const head = bytes.indexOf('"dtype":"F32"')
    bytes.write('"dtype":"I32"', head)
    await expect(readContainer(bytes)).rejects.toThrow(/^a buffer of \d+ bytes: tensor \S+ is I32, expected F32, F16 or BF16$/)
  })

  it.each<[string, (old: Metadata) => Metadata, string]>([
    ['another format', (old) => ({ ...old, format: 'pt' }), 'this is not a .fewbit model'],
    [
      'a newer version',
      (old) => ({ ...old, version: '5' }),
      'written in version 5 of the format, this fewbit reads up to 4: update the package',
    ],
    ['a version that is none', (old) => ({ ...old, version: 'x' }), 'unknown version x of the format'],
    ['no graph', ({ graph: _, ...rest }) => rest, 'the metadata lack graph'],
    ['JSON that goes on', (old) => ({ ...old, labels: `${old.labels},"x":1` }), 'labels is not valid JSON'],
    ['labels that are no strings', edit('labels', (labels: string[]) => labels.map(() => 1)), 'labels are not strings'],
    ['a label too few', edit('labels', (labels: string[]) => labels.slice(1)), '10 labels for 11 classes'],
    ['nodes that are no list', edit('graph', (graph: object) => ({ ...graph, nodes: {} })), 'the graph has no nodes'],
    [
      'an image without size',
      edit('graph', (graph: object) => ({ ...graph, input: { name: 'pixels', rows: -1, width: 1 } })),
      'has no size',
    ],
    ['an unknown operation', editNode('norm', { op: 'constructor' }), 'norm: unknown operation "constructor"'],
    ['a field of another type', editNode('norm', { eps: '1' }), 'norm: eps is "1", expected number'],
    ['heads in halves', editNode('layers.0.attention', { heads: 1.5 }), 'layers.0.attention: heads is 1.5, expected integer'],
    ['an edge that is not there', editNode('norm', { input: 'x' }), 'norm: reads the edge x'],
    ['a constant that is not there', editNode('norm', { gamma: 'x' }), 'norm: reads the constant x'],
    [
      'a node that nothing reads',
      edit('graph', (graph: { nodes: object[] }) => ({
        ...graph,
        nodes: [{ name: 'spare', op: 'gelu', input: 'pixels' }, ...graph.nodes],
      })),
      'spare: nothing reads its output spare',
    ],
    ['bits out of range', editCode('norm', { bits: 40 }), 'norm: 40 bits'],
    ['levels out of range', editCode('norm', { low: -1000 }), 'no level is 0'],
    ['too few levels', editCode('norm', { family: 'v2sf', levels: 'AAAA' }), 'levels for'],
    ['an unknown coverage', edit('scheme', (scheme: object) => ({ ...scheme, coverage: 'most' })), 'unknown coverage "most"'],
    ['factors of three bytes', editCode('norm', { factors: 'AAAA' }), 'norm: its factors are 3 bytes, not float32'],
    ['factors that are a number', editCode('norm', { factors: 3 }), 'norm: its factors are neither floats nor a mask'],
    ['a mask that is too short', editCode('norm', { factors: { count: 9, shift: 1, mask: 'AA==' } }), 'a mask of 1 bytes for 9 factors'],
    ['a mask without shift', editCode('norm', { factors: { count: 8, mask: 'AA==' } }), 'norm: its factors have no shift'],
    ['a mask of a huge shift', editCode('norm', { factors: { count: 8, shift: 1000, mask: '/w==' } }), 'not a positive float32'],
    [
      'a huge shift of a tiny step',
      editCode('norm', { step: 1e-10, factors: { count: 8, shift: 1000, mask: '/w==' } }),
      'not a positive float32',
    ],
    [
      'infinite factors of a tiny step',
      editCode('norm', { step: 1e-10, factors: 'AACAfwAAgH8AAIB/AACAfwAAgH8AAIB/AACAfwAAgH8=' }),
      'not a positive float32',
    ],
    [
      'factors 0 of a huge step',
      editCode('norm', { step: 1e16, factors: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' }),
      'not a positive float32',
    ],
    ['a factor that is no number', editCode('norm', { factors: 'AACAPwAAgD8AAIA/AACAPwAAgD8AAIA/AACAPwAAwH8=' }), 'not a positive float32'],
    [
      'a field of a node that nobody knows',
      edit('graph', (graph: { nodes: object[] }) => ({ ...graph, nodes: graph.nodes.map((node) => ({ ...node, dropout: 0.1 })) })),
      'has a field "dropout" that this version does not know',
    ],
    [
      'a field of the graph that nobody knows',
      edit('graph', (graph: object) => ({ ...graph, outputs: ['logits'] })),
      'the graph has a field "outputs" that this version does not know',
    ],
    [
      'a field of a window partition that nobody knows',
      edit('graph', (graph: { nodes: { op: string }[] }) => ({
        ...graph,
        nodes: graph.nodes.map((node) =>
          node.op === 'attention' ? { ...node, windows: { map: [1, 1], window: [1, 1], shift: [0, 0], size: [1, 1] } } : node,
        ),
      })),
      'the window partition of layers.0.attention has a field "size" that this version does not know',
    ],
    [
      'a field of the image that nobody knows',
      edit('graph', (graph: { input: object }) => ({ ...graph, input: { ...graph.input, layout: 'NHWC' } })),
      'the input of the graph has a field "layout" that this version does not know',
    ],
    ['a field that nobody knows', editCode('norm', { zero: 3 }), 'the code of norm has a field "zero" that this version does not know'],
    ['a step of 0', editCode('norm', { step: 0 }), 'the step 0 is not a positive float32'],
    [
      'a code of an edge that no node has',
      edit('scheme', (scheme: { edges: Record<string, object> }) => ({
        ...scheme,
        edges: { ...scheme.edges, 'layers.9.norm1': scheme.edges.norm },
      })),
      'the scheme has a code for the edge layers.9.norm1, but the graph has no such operand',
    ],
    [
      'a code of an edge that is stored as floats',
      edit('scheme', (scheme: { edges: Record<string, object> }) => ({
        ...scheme,
        edges: { ...scheme.edges, embeddings: scheme.edges['layers.0.attention.query'] },
      })),
      'the scheme has a code for the edge embeddings, but the graph has no such operand',
    ],
    ['a weight without code', editWeight(undefined), 'head'],
    ['a weight of other bits', editWeight([40, 11, 36]), 'head.weight: 40 bits'],
    ['a weight of huge size', editWeight([4, 2 ** 31, 2 ** 16]), 'head.weight: a weight of 2147483648 x 65536 is out of range'],
    ['a weight in words', editWeight('4 bits'), 'expected [bits, outputs, inputs]'],
  ])('%s', async (_, metadata, message) => {
    await expect(changed(metadata)).rejects.toThrow(message)
    await expect(changed(metadata)).rejects.toThrow('broken.fewbit')
  })

  it.each<[string, (old: TensorToWrite[]) => TensorToWrite[], string]>([
    ['missing codes', (old) => old.filter(({ name }) => name !== 'head.weight.codes'), 'head.weight: its codes are missing'],
    ['missing steps', (old) => old.filter(({ name }) => name !== 'head.weight.steps'), 'there is no tensor head.weight.steps'],
    ['a missing bias', (old) => old.filter(({ name }) => name !== 'head.bias'), 'head: reads the constant head.bias, which is missing'],
    [
      'a tensor that nothing reads',
      (old) => [...old, { name: 'spare', dtype: 'F32', shape: [1], data: new Float32Array(1) }],
      'nothing reads the tensor spare',
    ],
    [
      'a weight beside its codes',
      (old) => [...old, { name: 'head.weight', dtype: 'F32', shape: [11, 36], data: new Float32Array(11 * 36) }],
      'nothing reads the tensor head.weight',
    ],
    [
      'steps in half width',
      (old) => old.map((t) => (t.name === 'head.weight.steps' ? { ...t, dtype: 'F16', data: new Uint16Array(11).fill(0x3c00) } : t)),
      'head.weight: its steps are not a row of F32',
    ],
    [
      'steps in columns',
      (old) => old.map((t) => (t.name === 'head.weight.steps' ? { ...t, shape: [11, 1] } : t)),
      'head.weight: its steps are not a row of F32',
    ],
    [
      'codes cut short',
      (old) => old.map((t) => (t.name === 'head.weight.codes' ? { ...t, shape: [64], data: new Uint8Array(64) } : t)),
      'head.weight: 64 bytes of codes, expected',
    ],
    [
      'padding that is not zero',
      (old) =>
        old.map((t) => {
          if (t.name !== 'head.weight.codes') return t
          return { ...t, data: (t.data as Uint8Array).slice().fill(0x11, -16) }
        }),
      'the padding of its codes is not zero',
    ],
    [
      'steps that are no numbers',
      (old) => old.map((t) => (t.name === 'head.weight.steps' ? { ...t, data: new Float32Array(11).fill(Number.NaN) } : t)),
      'tensor head.weight.steps holds NaN',
    ],
    [
      'a step that is negative',
      (old) => old.map((t) => (t.name === 'head.weight.steps' ? { ...t, data: new Float32Array(11).fill(-1) } : t)),
      'the step -1 is not a positive float32',
    ],
  ])('%s', async (_, tensors, message) => {
    await expect(changed((old) => old, tensors)).rejects.toThrow(message)
  })

  it('to write parts that do not fit', async () => {
    const never = join(folder.path, 'never.fewbit')
    await expect(writeContainer(never, { ...parts, labels: [] })).rejects.toThrow('0 labels for 11 classes')
    await expect(writeContainer(never, { ...parts, scheme: { ...parts.scheme, weights: new Map() } })).rejects.toThrow('has no code')
    const { scheme } = parts
    const weights = new Map([...scheme.weights, ['spare', scheme.weights.get('head.weight') as WeightCode]])
    await expect(writeContainer(never, { ...parts, scheme: { ...scheme, weights } })).rejects.toThrow('a code for the weight spare, but')
  })

  it('every file that is cut off', async () => {
    const bytes = await readFile(path)
    for (const length of [0, 7, 8, 100, 4096, bytes.length - 1]) await expect(readContainer(bytes.subarray(0, length))).rejects.toThrow()
  })
})
