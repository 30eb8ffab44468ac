import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { load, type Model, memoryDataset, openDataset, quantize, randomModel, reportHtml } from '../../lib/index.js'
import { DIGITS, digits } from '../support/digits.js'

let folder: string
let float: Model
let small: Model
const calibrate = digits('train', 1)
const test = digits('test', 20)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fewbit-model-'))
  float = await load(DIGITS)
  small = await quantize(float, { calibrate, averageBits: 4.5 })
})

afterAll(async () => {
  float.dispose()
  small.dispose()
  await rm(folder, { recursive: true })
})

async function logits(model: Model): Promise<Float32Array> {
  const pixels = Float32Array.from({ length: 2 * 28 * 28 }, (_, i) => Math.sin(i))
  return model.run(pixels, 2)
}

it('reads digits, as float and at 4.5 bits', async () => {
  const exact = await float.evaluate(test)
  const coded = await small.evaluate(test)
  expect(exact.images).toBe(200)
  expect(exact.top1).toBeGreaterThan(0.95)
  expect(coded.top1).toBeGreaterThan(exact.top1 - 0.03)
  expect(coded.interval[0]).toBeLessThan(coded.top1)
  expect(coded.top5).toBeGreaterThanOrEqual(coded.top1)
})

it('comes back from its file bit for bit', async () => {
  const file = join(folder, 'digits.fewbit')
  const { bytes } = await small.save(file)
  expect(bytes).toBe(small.info().bytes)
  const back = await load(file)
  expect(await logits(back)).toEqual(await logits(small))
  expect(back.info()).toEqual(small.info())
  back.dispose()
  expect(await readdir(folder)).toEqual(['digits.fewbit'])
})

it('keeps the file near the bits of its tensors', async () => {
  const { graph, scheme } = small.parts
  let bits = 0
  for (const node of graph.nodes) {
    if (node.op !== 'linear') continue
    const code = scheme?.weights.get(node.weight)
    if (code) bits += code.outputs * code.inputs * code.bits + 32 * code.outputs
  }
  for (const [name, { data }] of graph.constants) if (!scheme?.weights.has(name)) bits += 32 * data.length
  expect(small.info().bytes).toBeLessThanOrEqual((1.02 * bits) / 8 + 65536)
})

it('classifies raw pixels', async () => {
  const [result] = await small.classify(await test.load(0), { top: 3 })
  expect(result).toHaveLength(3)
  expect(result[0].label).toBe('0')
  expect(result[0].probability).toBeGreaterThan(result[1].probability)
})

it('reports its bits', () => {
  const info = small.info()
  expect(info.weightBits).toBeLessThanOrEqual(4.5)
  expect(info.activationBits).toBeLessThanOrEqual(4.5)
  expect(info.operands.every(({ bits }) => bits >= 2 && bits <= 8)).toBe(true)
  expect(float.info().weightBits).toBe(32)
})

it.each([
  [{ bits: 1 }, /bits must be/],
  [{ bits: 9 }, /bits must be/],
  [{ bits: 4.5 }, /bits must be/],
  [{ averageBits: 1.9 }, /averageBits must be/],
  [{ averageBits: Number.NaN }, /averageBits must be/],
  [{ bits: 4, averageBits: 4 }, /not both/],
  [{ calibrationImages: 0 }, /calibrationImages must be/],
  [{ seed: -1 }, /seed must be/],
  [{ threads: 0 }, /threads must be/],
  [{ device: 'cuda:99' as const }, /device 'cuda:99' cannot be used: .*Use 'cpu' or 'auto'/],
  [{ device: 'gpu' as never }, /device must be 'cpu', 'cuda', 'cuda:1' \(a number\) or 'auto', not 'gpu'/],
  [{ device: ['cuda'] as never }, /device must be .*, not an array/],
  [{ isa: 'sse2' }, /isa 'sse2' is not known; known are portable/],
  [{ allocation: 'bogus' as never }, /allocation must be 'knapsack' or 'greedy' or 'even', not 'bogus'/],
])('refuses %j', async (options, message) => {
  await expect(quantize(float, { calibrate, ...options })).rejects.toThrow(message)
})

it('refuses what cannot be', async () => {
  await expect(quantize(small, { calibrate })).rejects.toThrow('quantized already')
  await expect(quantize(float, { calibrate: [] })).rejects.toThrow('no images')
  await expect(float.save(join(folder, 'float'))).rejects.toThrow('quantize it first')
  await expect(float.run(new Float32Array(783), 1)).rejects.toThrow('784 values')
  for (const model of [float, small]) {
    await expect(model.run(new Float32Array(2 * 784).fill(Number.NaN, 1000), 2)).rejects.toThrow('image 1 has NaN at value 216')
  }
  await expect(load(join(folder, 'nowhere'))).rejects.toThrow('does not exist')
  const short = { data: new Uint8Array(10), width: 28, height: 28, channels: 1 as const }
  expect(() => memoryDataset([short])).toThrow('data has 10')
  await expect(float.classify(short)).rejects.toThrow('data has 10')
  await expect(quantize(float, { calibrate: [short] })).rejects.toThrow('data has 10')
})

it('refuses arguments that are something else', async () => {
  const image = await test.load(0)
  await expect(quantize(float, undefined as never)).rejects.toThrow('calibrate is required')
  await expect(quantize(undefined as never, { calibrate })).rejects.toThrow('a model, not undefined')
  await expect(quantize(float, { calibrate: image as never })).rejects.toThrow(
    /calibrate must be a path or a dataset; .*; this is an object/,
  )
  await expect(float.evaluate([image] as never)).rejects.toThrow(/data must be a path or a dataset; memoryDataset .*; this is an array/)
  await expect(load(DIGITS, { isa: 'sse2' })).rejects.toThrow("isa 'sse2' is not known")
})

it.each<[string, (options: never) => Promise<unknown>, string]>([
  ['load', (options) => load(DIGITS, options), 'device, threads, isa, onWarning, signal'],
  ['randomModel', (options) => randomModel('vit-tiny', options), 'device, threads, isa, onWarning, signal, seed'],
  ['run', (options) => float.run(new Float32Array(784), 1, options), 'threads, signal, onProgress'],
  ['classify', (options) => float.classify([], options), 'threads, signal, onProgress, top'],
  ['evaluate', (options) => float.evaluate(test, options), 'threads, signal, onProgress'],
  ['benchmark', (options) => float.benchmark(options), 'threads, signal, onProgress, batch, runs, seed'],
  ['profile', (options) => float.profile(options), 'threads, signal, onProgress, batch, runs, seed'],
  ['openDataset', (options) => openDataset('nowhere', options), 'split, labels'],
  ['reportHtml', (options) => reportHtml({} as never, options), 'title, points'],
])('%s refuses an option that it does not know, and lists those that there are', async (call, run, options) => {
  await expect(run({ thread: 3 } as never)).rejects.toThrow(new TypeError(`${call} has no option thread; its options are ${options}`))
  await expect(run(null as never)).rejects.toThrow(new TypeError(`the options of ${call} must be an object, not null`))
})

it('refuses pixels that are none', async () => {
  await expect(float.run(undefined as never, 1)).rejects.toThrow(new TypeError('pixels must be a Float32Array, not undefined'))
  await expect(float.run([0] as never, 1)).rejects.toThrow(new TypeError('pixels must be a Float32Array, not an array'))
})

it('refuses signals and reports that are something else', async () => {
  await expect(load(DIGITS, { signal: 5 as never })).rejects.toThrow(new TypeError('load: signal must be an AbortSignal, not a number'))
  await expect(float.evaluate(test, { signal: new AbortController() as never })).rejects.toThrow('evaluate: signal must be an AbortSignal')
  await expect(float.benchmark({ onProgress: 'log' as never })).rejects.toThrow(
    new TypeError('benchmark: onProgress must be a function, not a string'),
  )
})

it('refuses datasets that do not fit together', async () => {
  await expect(float.evaluate({ ...test, length: 0 })).rejects.toThrow('data: the length of a dataset must be an integer from 1 on, not 0')
  await expect(float.evaluate({ ...test, labels: new Int32Array(3) })).rejects.toThrow('there are 200 images but 3 labels')
  await expect(float.evaluate({ ...test, labels: null })).rejects.toThrow('has no labels')
  await expect(quantize(float, { calibrate: { ...test, length: 1.5 } })).rejects.toThrow('calibrate: the length of a dataset')
})

it.each([
  [{ runs: 0 }, 'runs must be a positive integer, not 0'],
  [{ runs: -1 }, 'runs must be a positive integer, not -1'],
  [{ runs: 1.5 }, 'runs must be a positive integer, not 1.5'],
  [{ batch: 1e9 }, 'batch must be an integer from 1 to 4096, not 1000000000'],
  [{ batch: 0 }, 'batch must be an integer from 1 to 4096, not 0'],
  [{ seed: Number.NaN }, 'seed must be an integer from 0 to 2^32 - 1, not NaN'],
])('refuses a benchmark with %j', async (options, message) => {
  await expect(float.benchmark(options)).rejects.toThrow(message)
})

it('a benchmark makes as many runs as are asked for, or enough', async () => {
  const progress: number[] = []
  const { runs, min, msPerImage, max } = await float.benchmark({ runs: 3, onProgress: ({ done, total }) => progress.push(done / total) })
  expect(runs).toBe(3)
  expect(progress).toEqual([1 / 3, 2 / 3, 1])
  expect(min).toBeLessThanOrEqual(msPerImage)
  expect(max).toBeGreaterThanOrEqual(msPerImage)
  const enough = (await float.benchmark()).runs
  expect(enough).toBeGreaterThanOrEqual(20)
  expect(enough).toBeLessThanOrEqual(1000)
})

it('leaves nothing behind when it cannot write', async () => {
  const file = join(folder, 'blocked')
  await writeFile(file, 'a file, not a folder')
  await expect(small.save(join(file, 'x.fewbit'))).rejects.toThrow('cannot write')
  expect(await readdir(folder)).not.toContain('x.fewbit')
})

it('is gone after dispose, twice', async () => {
  const model = await load(DIGITS)
  await logits(model)
  model.dispose()
  model.dispose()
  await expect(logits(model)).rejects.toThrow('disposed')
})
