import { basename } from 'node:path'
import addon from '#addon'
import type { Graph } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import type { Scheme } from '../../lib/graph/scheme.js'
import { loadBatch } from '../../lib/images/batch.js'
import { openDataset } from '../../lib/images/dataset.js'
import { load, quantize } from '../../lib/index.js'
import { buildGraph } from '../../lib/models/index.js'
import { Session } from '../../lib/runtime/session.js'
import { goldenSource, readGolden, unit } from '../support/golden.js'
import { simpleScheme } from '../support/random-scheme.js'
import { describeWith, shared } from '../support/shared.js'
import { smallSwin } from '../support/small-swin.js'
import { smallVit } from '../support/small-vit.js'

/** Whole models on a CUDA device, or on a simulator of its driver, against the CPU. */

const { reason, devices } = addon.cuda()
const runs = devices[0]?.runs ?? false
if (!runs) console.log(`skipped: ${devices[0]?.reason ?? reason}`)
const describeCuda = runs ? describe : describe.skip

const imageSize = (graph: Graph): number => {
  const edge = graph.edges.get(graph.input)
  return (edge?.rows as number) * (edge?.width as number)
}

/** The outputs of the CPU and of the device, each run often enough that the device replays a graph. */
async function both(graph: Graph, scheme: Scheme | null, pixels: Float32Array, images: number, outputs?: string[]) {
  const { plan } = lower(graph, scheme, { outputs, batch: 2 })
  const cpu = new Session(plan)
  const cuda = new Session(plan, { device: 'cuda' })
  try {
    const expected = await cpu.run(pixels, images)
    const found: Float32Array[] = []
    for (let i = 0; i < 2; i++) found.push(await cuda.run(pixels, images))
    return { expected, found }
  } finally {
    cpu.dispose()
    cuda.dispose()
  }
}

describeCuda.each([
  ['ViT', smallVit],
  ['Swin', smallSwin],
])('a small %s with odd shapes', (_, make) => {
  let graph: Graph
  let pixels: Float32Array
  beforeAll(async () => {
    graph = await make()
    pixels = unit('pixels', 5 * imageSize(graph))
  })

  test.each(['partial', 'full'] as const)('has the bits of the CPU on codes, %s coverage', async (coverage) => {
    const scheme = simpleScheme(graph, pixels.subarray(0, imageSize(graph)), coverage)
    const { expected, found } = await both(graph, scheme, pixels, 5)
    for (const values of found) expect(values).toEqual(expected)
  })

  test('is the CPU within the rounding of sums on floats, at every edge', async () => {
    const { expected, found } = await both(
      graph,
      null,
      pixels,
      5,
      graph.nodes.map(({ output }) => output),
    )
    const most = expected.reduce((a, b) => Math.max(a, Math.abs(b)), 0)
    for (const values of found) {
      expect(values.length).toBe(expected.length)
      expect(values.reduce((worst, value, i) => Math.max(worst, Math.abs(value - expected[i])), 0) / most).toBeLessThan(1e-5)
    }
  })
})

describeCuda('DeiT-Tiny, 224 x 224, codes of all widths', () => {
  test('has the bits of the CPU on two images', async () => {
    const { config, tensors } = readGolden('hf-deit-tiny')
    const graph = await buildGraph({ config, tensors: goldenSource(tensors) })
    const pixels = unit('hf-deit-tiny/pixel_values', 2 * imageSize(graph))
    const { plan } = lower(graph, simpleScheme(graph, pixels.subarray(0, imageSize(graph))), { batch: 2 })
    const cpu = new Session(plan)
    const cuda = new Session(plan, { device: 'cuda' })
    expect(await cuda.run(pixels, 2)).toEqual(await cpu.run(pixels, 2))
    cpu.dispose()
    cuda.dispose()
  })
})

const describeZoo = runs ? describeWith : () => describe.skip as unknown as typeof describe

for (const model of ['vit-cifar10', 'swin-cifar10']) {
  describeZoo(`zoo/${model}`)(`${basename(model)}, quantized`, () => {
    test('has the logits of the CPU on photographs', async () => {
      const float = await load(shared('zoo', model))
      const data = await openDataset(shared('cifar10/test_batch.bin'))
      const images = 4
      const calibrate = shared('cifar10/data_batch_1.bin')
      const small = await quantize(float, { calibrate, calibrationImages: 8, preset: 'minmax', bits: 8 })
      const onDevice = await quantize(float, { calibrate, calibrationImages: 8, preset: 'minmax', bits: 8, device: 'cuda' })
      const pixels = await loadBatch(
        data,
        Array.from({ length: images }, (_, i) => i),
        small.parts.preprocessing,
      )
      expect(await onDevice.run(pixels, images)).toEqual(await small.run(pixels, images))
      for (const each of [float, small, onDevice]) each.dispose()
    })
  })
}
