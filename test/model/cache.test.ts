import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Model, type QuantizeOptions, quantize } from '../../lib/index.js'
import { temporaryFolder } from '../support/folder.js'
import { noise, tinyModel } from '../support/tiny-model.js'

const folder = temporaryFolder()
const calibrate = noise(1, 8)
const options = { calibrate, averageBits: 5, coverage: 'partial' as const }
const pixels = Float32Array.from({ length: 2 * 3 * 21 * 14 }, (_, i) => Math.sin(i))
let float: Model
let expected: Float32Array

beforeAll(async () => {
  float = await tinyModel()
  expected = await logits(await quantize(float, options))
})
afterAll(() => float.dispose())

const logits = (model: Model) => model.run(pixels, 2)

/** What a call with a cache does: its logits, its stages, its warnings. */
async function call(cache: string, more: Partial<QuantizeOptions> = {}) {
  const stages = new Set<string>()
  const small = await quantize(float, { ...options, cache, onProgress: ({ stage }) => stages.add(stage), ...more })
  return { logits: await logits(small), stages: [...stages], warnings: small.quantization?.warnings, quantization: small.quantization }
}

/** Path of the one file of a kind. */
async function fileOf(cache: string, kind: 'model' | 'damages'): Promise<string> {
  const files = (await readdir(cache)).filter((name) => name.startsWith(kind))
  expect(files).toEqual([expect.stringMatching(/^(model-[0-9a-f]{64}\.fewbit|damages-[0-9a-f]{64}\.json)$/)])
  return join(cache, files[0])
}

it('gives the same model again without a search', async () => {
  const cache = join(folder.path, 'new', 'folder')
  const first = await call(cache)
  expect(first.logits).toEqual(expected)
  expect(first.stages).toContain('measure')
  const again = await call(cache)
  expect(again).toEqual({ ...first, stages: ['read'] })
  expect(await readdir(cache)).toHaveLength(2)
})

it('does not keep what a report needs, and estimates the search that it takes', async () => {
  const cache = join(folder.path, 'report')
  const heard: string[] = []
  const onEstimate = () => heard.push('estimate')
  const onReport = () => void heard.push('report')
  for (const more of [{}, {}, { onReport }]) await call(cache, { ...more, onEstimate })
  expect(heard).toEqual(['estimate', 'estimate', 'report'])
})

it('keeps other widths, images and presets apart, and damages for all widths, more of them for averages that need more', async () => {
  const cache = join(folder.path, 'apart')
  const widths = async () => {
    const kept: number[][] = Object.values(JSON.parse(await readFile(await fileOf(cache, 'damages'), 'utf8')))
    return new Set(kept.map(({ length }) => length))
  }
  await call(cache)
  await call(cache, { averageBits: 4 })
  expect((await readdir(cache)).filter((name) => name.startsWith('model'))).toHaveLength(2)
  expect(await widths()).toEqual(new Set([6]))
  const narrow = await call(cache, { averageBits: 3.5 })
  expect(narrow.logits).toEqual((await call(join(folder.path, 'narrow'), { averageBits: 3.5 })).logits)
  expect(await widths()).toEqual(new Set([7]))
  for (const more of [{ calibrate: noise(2, 8) }, { preset: 'minmax' as const, averageBits: undefined }]) {
    expect((await call(cache, more)).stages).toContain('observe')
  }
  expect((await readdir(cache)).filter((name) => name.startsWith('model'))).toHaveLength(5)
})

it('keeps models without parts apart, in whatever order these are named', async () => {
  const cache = join(folder.path, 'parts')
  await call(cache)
  const less = await call(cache, { without: ['bias', 'fisher'] })
  expect(less.stages).toContain('measure')
  expect(less.logits).not.toEqual(expected)
  expect(await readdir(cache)).toHaveLength(4)
  expect(await call(cache, { without: ['fisher', 'bias', 'fisher'] })).toEqual({ ...less, stages: ['read'] })
})

it('goes on where a search was interrupted', async () => {
  const cache = join(folder.path, 'interrupted')
  const abort = new AbortController()
  const onProgress: QuantizeOptions['onProgress'] = ({ stage, done }) =>
    stage === 'measure' && done === 4 && abort.abort(new Error('enough'))
  await expect(quantize(float, { ...options, cache, onProgress, signal: abort.signal })).rejects.toThrow('enough')
  const file = await fileOf(cache, 'damages')
  const kept = JSON.parse(await readFile(file, 'utf8'))
  expect(Object.keys(kept).length).toBeGreaterThanOrEqual(4)
  // What is there is taken as it stands: damages a million times as large keep their operand wide.
  const [unit] = Object.keys(kept).filter((name) => name.startsWith('weight'))
  await writeFile(file, JSON.stringify({ ...kept, [unit]: kept[unit].map((damage: number) => 1e6 * damage) }))
  const resumed = await quantize(float, { ...options, cache })
  const widths = (model: Model) => model.info().operands.find(({ name }) => `weight ${name}` === unit)?.bits
  expect(widths(resumed)).toBeGreaterThan(widths(await quantize(float, options)) as number)
  expect(Object.keys(JSON.parse(await readFile(file, 'utf8'))).length).toBeGreaterThan(Object.keys(kept).length)
})

it.each<['model' | 'damages', string | Uint8Array, RegExp]>([
  ['model', 'no model', /model-.* is ignored/],
  ['damages', '{"weight head.weight": [1, 2]}', /damages-.* is ignored: no damages for weight head\.weight/],
  ['damages', '{"weight head.weight"', /damages-.* is ignored/],
])('does without a broken %s file, says so, and writes it anew', async (kind, content, message) => {
  const cache = join(folder.path, `broken-${kind}-${content.length}`)
  await call(cache)
  const file = await fileOf(cache, kind)
  const whole = await readFile(file)
  await writeFile(file, content)
  if (kind === 'damages') await writeFile(await fileOf(cache, 'model'), '')
  const again = await call(cache)
  expect(again.logits).toEqual(expected)
  expect(again.warnings).toContainEqual(expect.stringMatching(message))
  expect(Buffer.compare(await readFile(file), whole)).toBe(0)
})

it('serves reports and accuracy floors', async () => {
  const cache = join(folder.path, 'more')
  const floor = { averageBits: 6, maxDrop: 100, validate: noise(3, 20) }
  const first = await call(cache, floor)
  const reports: number[] = []
  const again = await call(cache, { ...floor, onReport: ({ layers }) => void reports.push(layers.length) })
  expect(again.quantization).toEqual(first.quantization)
  expect(again.logits).toEqual(first.logits)
  expect(reports).toEqual([expect.any(Number)])
  expect((await call(cache, floor)).stages).toEqual(['read', 'validate'])
})

it('refuses a folder that it cannot write to before any work', async () => {
  const file = join(folder.path, 'file')
  await writeFile(file, '')
  const onProgress = () => expect('work').toBe('not begun')
  for (const cache of [file, join(file, 'below', 'that')]) {
    await expect(quantize(float, { ...options, cache, onProgress })).rejects.toThrow(/cache .*file.* cannot be made|cannot write .*file/)
  }
  // A folder that is there and takes no others.
  if (!existsSync('/proc/self')) return
  await expect(quantize(float, { ...options, cache: '/proc/cache', onProgress })).rejects.toThrow('the cache /proc/cache cannot be made')
})
