import type { Graph } from '../../lib/graph/graph.js'
import { quantize } from '../../lib/index.js'
import { exportOnnx, type OnnxFormat } from '../../lib/model/export-onnx.js'
import { encodeOnnx } from '../../lib/onnx/encode.js'
import { toOnnx } from '../../lib/onnx/export.js'
import { dynamicLinear, floatLinear, type LinearForm, qdqLinear } from '../../lib/onnx/products.js'
import { type OnnxFile, readOnnx } from '../support/onnx-file.js'
import { runOnnx } from '../support/onnx-run.js'
import { normals } from '../support/random.js'
import { type Matrix, runReference } from '../support/reference.js'
import { smallSwin } from '../support/small-swin.js'
import { smallVit } from '../support/small-vit.js'
import { noise, tinyModel } from '../support/tiny-model.js'

const GRAPHS: [string, () => Promise<Graph>][] = [
  ['DeiT with both heads', smallVit],
  ['ViT', () => smallVit({ architecture: 'vit', distillationToken: false, distillationHead: false })],
  ['Swin', smallSwin],
]
const FORMS: [string, (graph: Graph, image: Float32Array) => LinearForm][] = [
  ['float', () => floatLinear],
  ['int8-dynamic', () => dynamicLinear()],
  ['int8-qdq', (graph, image) => qdqLinear(rangesOf(graph, image))],
]

/** How far edges reach on two images. */
function rangesOf(graph: Graph, images: Float32Array) {
  const size = images.length / 2
  const runs = [0, 1].map((i) => runReference(graph, images.subarray(i * size, (i + 1) * size)))
  return (edge: string) => {
    const all = runs.flatMap((edges) => [...(edges.get(edge) as Matrix).data])
    return { min: Math.min(...all), max: Math.max(...all) }
  }
}

const logitsOf = (graph: Graph, image: Float32Array): Float64Array => (runReference(graph, image).get(graph.output) as Matrix).data

async function exported(graph: Graph, linear: LinearForm): Promise<OnnxFile> {
  return readOnnx(await encodeOnnx(graph, await toOnnx(graph, linear), '1.2.3'))
}

const imagesOf = (graph: Graph): Float32Array => {
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  return normals(3, 2 * rows * width)
}

describe.each(GRAPHS)('%s', (_, make) => {
  let graph: Graph
  let images: Float32Array
  beforeAll(async () => {
    graph = await make()
    images = imagesOf(graph)
  })

  test.each(FORMS)('%s computes the logits of the graph, image by image', async (form, linear) => {
    const file = await exported(graph, linear(graph, images))
    const [, channels, height, width] = file.inputs[0].shape as number[]
    const logits = runOnnx(file, { shape: [2, channels, height, width], data: Float64Array.from(images) }).get('logits')
    const size = images.length / 2
    const expected = [0, 1].flatMap((i) => [...logitsOf(graph, images.subarray(i * size, (i + 1) * size))])
    expect(logits?.shape).toEqual([2, expected.length / 2])
    const largest = Math.max(...expected.map(Math.abs))
    // Floats: the rounding of factors to float32. Codes: some hundredths of the largest, as with any 8-bit model, but not nothing.
    const far = Math.max(...expected.map((value, i) => Math.abs(value - (logits?.data[i] as number)))) / largest
    if (form === 'float') expect(far).toBeLessThan(1e-6)
    else {
      expect(far).toBeGreaterThan(1e-5)
      expect(far).toBeLessThan(0.1)
    }
  })

  test.each(FORMS)('%s is a well-formed file of opset 17', async (form, linear) => {
    const file = await exported(graph, linear(graph, images))
    expect(file).toMatchObject({ irVersion: 8, opset: 17, domain: '', producer: 'fewbit' })
    const patchify = graph.nodes.find(({ op }) => op === 'patchify') as { channels: number; height: number; width: number }
    const classes = graph.edges.get(graph.output)?.width
    expect(file.inputs).toEqual([{ name: 'pixels', type: 1, shape: ['batch', patchify.channels, patchify.height, patchify.width] }])
    expect(file.outputs).toEqual([{ name: 'logits', type: 1, shape: ['batch', classes] }])
    const written = new Set(['pixels', ...file.constants.map(({ name }) => name)])
    expect(written.size).toBe(1 + file.constants.length)
    for (const { inputs, outputs } of file.nodes) {
      for (const input of inputs) expect(written).toContain(input)
      for (const output of outputs) {
        expect(written).not.toContain(output)
        written.add(output)
      }
    }
    const read = new Set(['logits', ...file.nodes.flatMap(({ inputs }) => inputs)])
    expect([...written].filter((name) => !read.has(name))).toEqual([])
    expect(new Set(file.nodes.map(({ name }) => name)).size).toBe(file.nodes.length)
    const bytes = { 1: 4, 2: 1, 3: 1, 7: 8 } as Record<number, number>
    for (const { shape, type, raw } of file.constants) expect(raw.length).toBe(shape.reduce((a, b) => a * b, bytes[type]))
    const products = file.nodes.filter(({ op }) => op === (form === 'int8-dynamic' ? 'MatMulInteger' : 'MatMul')).length
    const attentions = graph.nodes.filter(({ op }) => op === 'attention').length
    const linears = graph.nodes.filter(({ op }) => op === 'linear').length
    // Queries, keys and values are one product, the patch embedding is a convolution, and attention has two products of its own.
    expect(products).toBe(linears - 1 - 2 * attentions + (form === 'int8-dynamic' ? 0 : 2 * attentions))
  })
})

test('weights on 8 bits are off by half a step of their column at most, and reach the ends', async () => {
  const graph = await smallVit()
  const weight = graph.constants.get('layers.1.mlp.fc2.weight') as { shape: number[]; data: Float32Array }
  const [outputs, inputs] = weight.shape
  const file = await exported(graph, dynamicLinear())
  const constant = (name: string) => file.constants.find((each) => each.name === name) as OnnxFile['constants'][number]
  const codes = new Int8Array(constant('layers.1.mlp.fc2.weight').raw.buffer)
  const steps = new Float32Array(constant('layers.1.mlp.fc2.weight.steps').raw.buffer)
  expect(constant('layers.1.mlp.fc2.weight').shape).toEqual([inputs, outputs])
  for (let o = 0; o < outputs; o++) {
    let most = 0
    for (let i = 0; i < inputs; i++) {
      const code = codes[i * outputs + o]
      most = Math.max(most, Math.abs(code))
      expect(Math.abs(code * steps[o] - weight.data[o * inputs + i])).toBeLessThanOrEqual(0.5001 * steps[o])
    }
    expect(most).toBe(127)
  }
})

test('layers of queries, keys and values that are read elsewhere stay apart', async () => {
  const graph = await smallVit({ layers: 1, distillationToken: false, distillationHead: false })
  const nodes = graph.nodes.map((node) => (node.op === 'attention' ? { ...node, k: node.q } : node))
  const file = await exported({ ...graph, nodes }, floatLinear)
  expect(file.nodes.some(({ op }) => op === 'Split')).toBe(false)
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const image = normals(4, rows * width)
  const [, ...shape] = file.inputs[0].shape as number[]
  const logits = runOnnx(file, { shape: [1, ...shape], data: Float64Array.from(image) }).get('logits')
  logitsOf({ ...graph, nodes }, image).forEach((value, i) => expect(logits?.data[i]).toBeCloseTo(value, 5))
})

describe('exportOnnx', () => {
  test.each(['float', 'int8-dynamic', 'int8-qdq'] as OnnxFormat[])('%s of a model has its kind of product', async (format) => {
    const model = await tinyModel()
    const bytes = await exportOnnx(model, { format, ...(format === 'int8-qdq' && { calibrate: noise(1, 4) }) })
    const ops = new Set(readOnnx(bytes).nodes.map(({ op }) => op))
    expect([ops.has('MatMulInteger'), ops.has('QuantizeLinear')]).toEqual([format === 'int8-dynamic', format === 'int8-qdq'])
    model.dispose()
  })

  test('the same images give the same file', async () => {
    const model = await tinyModel()
    const options = { format: 'int8-qdq', calibrate: noise(1, 8), calibrationImages: 4, seed: 3 } as const
    expect(Buffer.from(await exportOnnx(model, options)).equals(Buffer.from(await exportOnnx(model, { ...options, threads: 1 })))).toBe(
      true,
    )
    expect(Buffer.from(await exportOnnx(model, options)).equals(Buffer.from(await exportOnnx(model, { ...options, seed: 4 })))).toBe(false)
    model.dispose()
  })

  test.each([
    ['an unknown option', { fromat: 'float' }, /no option fromat; its options are format/],
    ['threads that are none', { threads: 0 }, /threads must be an integer from 1 to 256, not 0/],
    ['an unknown format', { format: 'int4' }, /'float' or 'int8-dynamic' or 'int8-qdq', not 'int4'/],
    [
      'a format that has to be calibrated',
      { format: 'int8-qdq' },
      /int8-qdq needs to know how far activations reach: give calibrate \(--calibrate DATA\)/,
    ],
    [
      'images for nothing',
      { format: 'float', calibrate: 'folder' },
      /calibrate \(--calibrate\) is for int8-qdq alone, float has no use for it/,
    ],
  ])('%s is refused', async (_, options, message) => {
    const model = await tinyModel()
    await expect(exportOnnx(model, options as object)).rejects.toThrow(message)
    model.dispose()
  })

  test('a quantized model and what is no model are refused', async () => {
    const model = await tinyModel()
    const small = await quantize(model, { calibrate: noise(1, 2), bits: 8, allocation: 'even' })
    await expect(exportOnnx(small)).rejects.toThrow(
      /this model is quantized, and its codes have no form in ONNX: export its float checkpoint/,
    )
    await expect(exportOnnx(7 as never)).rejects.toThrow(/takes a checkpoint's folder or a model, not/)
    for (const each of [model, small]) each.dispose()
  })

  test('an abort ends it', async () => {
    const model = await tinyModel()
    const abort = new AbortController()
    abort.abort(new Error('enough'))
    await expect(exportOnnx(model, { signal: abort.signal })).rejects.toThrow('enough')
    model.dispose()
  })
})

test('a node that ONNX has nothing for is named', async () => {
  const graph = await smallVit({ layers: 1 })
  const gradient = { name: 'slope', output: 'slope', op: 'geluGradient' as const, input: 'layers.0.mlp.fc1', gradient: 'layers.0.mlp.fc1' }
  await expect(toOnnx({ ...graph, nodes: [...graph.nodes, gradient] }, floatLinear)).rejects.toThrow(
    /slope: geluGradient cannot be exported/,
  )
})
