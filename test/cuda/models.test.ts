import { basename } from 'node:path'
import type { Graph } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import type { Scheme } from '../../lib/graph/scheme.js'
import { loadBatch } from '../../lib/images/batch.js'
import { openDataset } from '../../lib/images/dataset.js'
import { load, quantize } from '../../lib/index.js'
import { topIndices } from '../../lib/model/statistics.js'
import { buildGraph } from '../../lib/models/index.js'
import { Session } from '../../lib/runtime/session.js'
import { describeOnDevice, hasDevice } from '../support/cuda.js'
import { goldenSource, readGolden, unit } from '../support/golden.js'
import { simpleScheme } from '../support/random-scheme.js'
import { describeWith, shared } from '../support/shared.js'
import { smallSwin } from '../support/small-swin.js'
import { smallVit } from '../support/small-vit.js'

/** Whole models on a CUDA device, or on a simulator of its driver, against the CPU. */

const describeCuda = describeOnDevice()

/** Half a step of pixels' codes, which have 255 steps from -1 to 1, or longer ones. */
const NOISE = 4e-3

const imageSize = (graph: Graph): number => {
  const edge = graph.edges.get(graph.input)
  return (edge?.rows as number) * (edge?.width as number)
}

interface Both {
  expected: Float32Array
  /** Of two runs: the first makes launches, the second replays a graph. */
  found: Float32Array[]
  /** How far the outputs of the CPU move when pixels do by up to {@link NOISE}, the most of three times. */
  sensitivity: number
}

async function both(graph: Graph, scheme: Scheme | null, pixels: Float32Array, images: number, outputs?: string[]): Promise<Both> {
  const { plan } = lower(graph, scheme, { outputs, batch: 2 })
  const cpu = new Session(plan)
  const cuda = new Session(plan, { device: 'cuda' })
  try {
    const expected = await cpu.run(pixels, images)
    let sensitivity = 0
    for (const seed of ['a', 'b', 'c']) {
      const noise = unit(seed, pixels.length)
      const moved = await cpu.run(
        pixels.map((x, i) => x + NOISE * noise[i]),
        images,
      )
      sensitivity = Math.max(sensitivity, distance(moved, expected))
    }
    const found: Float32Array[] = []
    for (let i = 0; i < 2; i++) found.push(await cuda.run(pixels, images))
    return { expected, found, sensitivity }
  } finally {
    cpu.dispose()
    cuda.dispose()
  }
}

const distance = (a: Float32Array, b: Float32Array): number => a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0)

/**
 * An op on a device may be one step of a code beside the CPU where the value before rounding is within 3e-5 of the middle between two
 * levels, and layers behind it carry that on. Noise in pixels moves the first codes by a step and is carried on alike: outputs differ by
 * twice as much at most, since either is one draw of the rounding errors of the model. Classes are the same where the margin is larger than
 * what both may move.
 */
function expectNear({ expected, found, sensitivity }: Both, images: number): void {
  const classes = expected.length / images
  const bound = 2 * sensitivity
  for (const values of found) {
    expect(values).toEqual(found[0])
    expect(distance(values, expected)).toBeLessThanOrEqual(bound)
    for (let i = 0; i < images; i++) {
      const [cpu, device] = [expected, values].map((all) => all.subarray(i * classes, (i + 1) * classes))
      const [first, second] = topIndices(cpu, 2)
      if (cpu[first] - cpu[second] > 2 * bound) expect(topIndices(device, 1)).toEqual([first])
    }
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

  test.each(['partial', 'full'] as const)('is as near the CPU as rounding allows on codes, %s coverage', async (coverage) => {
    const scheme = simpleScheme(graph, pixels.subarray(0, imageSize(graph)), coverage)
    expectNear(await both(graph, scheme, pixels, 5), 5)
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

describeCuda('a session', () => {
  test('takes the time of every op, stops between passes, and says what it cannot run', async () => {
    const graph = await smallVit()
    const pixels = unit('pixels', 6 * imageSize(graph))
    const { plan } = lower(graph, null, { batch: 2 })
    const session = new Session(plan, { device: 'cuda' })
    try {
      const { times, output } = await session.profile(pixels, 6)
      expect(times.map(({ op }) => op)).toEqual(plan.ops.map(({ op }) => op))
      for (const { nanoseconds } of times) expect(nanoseconds).toBeGreaterThan(0)
      expect(await session.run(pixels, 6)).toEqual(output)
      const abort = new AbortController()
      const stopped = session.run(pixels, 6, { signal: abort.signal, onProgress: () => abort.abort() })
      await expect(stopped).rejects.toThrow('aborted')
      expect(await session.run(pixels, 6)).toEqual(output)
      const observed = lower(graph, null, { observe: new Map([[graph.output, { sampleRows: 0, sampleStride: 1 }]]) })
      expect(() => new Session(observed.plan, { device: 'cuda' })).toThrow(/\(observe\) has no CUDA kernel; run it on the CPU/)
    } finally {
      session.dispose()
    }
  })
})

describeCuda('DeiT-Tiny, 224 x 224, codes of all widths', () => {
  test('is as near the CPU as rounding allows on two images', async () => {
    const { config, tensors } = readGolden('hf-deit-tiny')
    const graph = await buildGraph({ config, tensors: goldenSource(tensors) })
    const pixels = unit('hf-deit-tiny/pixel_values', 2 * imageSize(graph))
    expectNear(await both(graph, simpleScheme(graph, pixels.subarray(0, imageSize(graph))), pixels, 2), 2)
  })
})

// Without a device nothing is said of the folder.
const describeZoo = (path: string) => (hasDevice ? describeWith(path) : describeCuda)

for (const model of ['vit-cifar10', 'swin-cifar10']) {
  describeZoo(`zoo/${model}`)(`${basename(model)}, quantized`, () => {
    test('answers as the CPU does on photographs', async () => {
      const float = await load(shared('zoo', model))
      const data = await openDataset(shared('cifar10/test_batch.bin'))
      const images = 4
      const calibrate = shared('cifar10/data_batch_1.bin')
      const small = await quantize(float, { calibrate, calibrationImages: 8, preset: 'minmax', bits: 8 })
      const indices = Array.from({ length: images }, (_, i) => i)
      const pixels = await loadBatch(data, indices, small.parts.preprocessing)
      expectNear(await both(small.parts.graph, small.parts.scheme, pixels, images), images)
      for (const each of [float, small]) each.dispose()
    })
  })
}
