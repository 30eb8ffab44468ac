import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  type BenchmarkResult,
  type Classification,
  type Evaluation,
  exportOnnx,
  type ModelInfo,
  type OperandInfo,
  type Profile,
  type ProfiledOp,
  randomModel,
} from '../../lib/index.js'
import { fewbit, type Outcome, oneJsonLine } from '../support/command-line.js'
import { writeDigits } from '../support/digit-files.js'
import { DIGITS, writeFirstBlock } from '../support/digits.js'
import { readOnnx } from '../support/onnx-file.js'

jest.mock('node:fs/promises', () => ({ ...jest.requireActual('node:fs/promises') }))
const fs = jest.requireMock<typeof import('node:fs/promises')>('node:fs/promises')

interface Quantized {
  bytes: number
  weightBits: number
  activationBits: number
}

let folder: string
let average: Outcome
const at = (name: string) => join(folder, name)
/** All that `quantize --json` leaves on stderr. */
const ESTIMATE = /^this will take roughly \d+ (s|min|h)\n$/
/** Of the first block alone, as most of what the command does is the same for a model of any depth. */
const quantize = (output: string, ...more: string[]) =>
  fewbit(['quantize', at('vit-digits'), '--calibrate', at('calibration'), '-o', output, ...more])

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fewbit-cli-'))
  await writeDigits(at('calibration'), 'train', 4)
  await writeDigits(at('test'), 'test', 5)
  await writeFirstBlock(at('vit-digits'))
  const whole = ['quantize', DIGITS, '--calibrate', at('calibration'), '--preset', 'minmax', '-o', at('digits.fewbit'), '--json']
  expect(await fewbit(whole)).toMatchObject({ code: 0, stderr: expect.stringMatching(ESTIMATE) })
  average = await quantize(at('average.fewbit'), '--average-bits', '4.5', '--json')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('quantize', () => {
  test('--json prints one line, and the file is as large as it says', () => {
    expect(average).toMatchObject({ code: 0, stderr: expect.stringMatching(ESTIMATE) })
    const json = oneJsonLine<Quantized>(average)
    expect(json).toMatchObject({ file: at('average.fewbit'), architecture: 'vit' })
    expect(json.bytes).toBe(statSync(at('average.fewbit')).size)
    expect(json.weightBits).toBeLessThanOrEqual(4.5)
    expect(json.weightBits).toBeGreaterThan(3.5)
    expect(json.activationBits).toBeLessThanOrEqual(4.5)
  })

  test('the same seed writes the same bytes', async () => {
    const drawn = ['--bits', '6', '--calibration-images', '8', '--seed', '7']
    await quantize(at('a.fewbit'), ...drawn)
    await quantize(at('b.fewbit'), ...drawn, '--threads', '1')
    await quantize(at('c.fewbit'), ...drawn.slice(0, -1), '8')
    expect(readFileSync(at('a.fewbit')).equals(readFileSync(at('b.fewbit')))).toBe(true)
    expect(readFileSync(at('a.fewbit')).equals(readFileSync(at('c.fewbit')))).toBe(false)
  })

  test('without --json it says what it wrote, and names its stages on stderr', async () => {
    const outcome = await quantize(at('plain.fewbit'), '--bits', '4')
    expect(outcome.code).toBe(0)
    expect(outcome.stdout).toMatch(/file +.*plain\.fewbit\nsize +\S+ (KiB|MiB)\nbits +weights/)
    expect(outcome.stderr).toMatch(/ \.\.\.\n/)
  })

  test('preset, coverage, widths, accuracy floor and cache are options, and --json tells what came of them', async () => {
    const floor = ['--preset', 'best', '--coverage', 'partial', '--bits', '7', '--max-drop', '100', '--validate', at('test')]
    const options = [...floor, '--calibration-images', '4', '--cache', at('cache')]
    const outcome = await quantize(at('floor.fewbit'), ...options, '--json')
    expect(outcome).toMatchObject({ code: 0, stderr: expect.stringMatching(ESTIMATE) })
    expect(oneJsonLine(outcome)).toMatchObject({
      ...{ preset: 'best', coverage: 'partial', divergence: expect.any(Number), spread: expect.any(Number) },
      floor: { maxDrop: 100, averageBits: 7, images: 50, labelled: true, drop: expect.any(Number) },
      warnings: [expect.stringMatching(/^only 4 calibration images/)],
    })
    const again = await quantize(at('again.fewbit'), ...options)
    expect(again.stderr).toMatch(/^warning: only 4 calibration images/m)
    expect(again.stdout).toMatch(/^preset +best, partial coverage\n/m)
    expect(again.stdout).toMatch(/^drop +-?\d+\.\d\d points on 50 images/m)
    expect(readFileSync(at('again.fewbit')).equals(readFileSync(at('floor.fewbit')))).toBe(true)
    expect((await fewbit(['info', at('floor.fewbit')])).stdout).toMatch(/^quantized +partial coverage, preset best$/m)
  })

  test('the objective latency prints milliseconds beside bits, and what they are of', async () => {
    const options = ['--average-bits', '5', '--objective', 'latency', '--calibration-images', '8', '--threads', '1']
    const outcome = await quantize(at('fast.fewbit'), ...options)
    expect(outcome.stdout).toMatch(/^layer +bits +time +with 8 bits\n[─ ]+\npatch_embedding +\d +[\d.]+ ms +[\d.]+ ms\n/m)
    expect(outcome.stdout).toMatch(/^all linear layers +[\d.]+ ms +[\d.]+ ms$/m)
    const [, images] = /in runs of (\d+) on 1 thread, each layer by itself: without bias/.exec(outcome.stdout) ?? []
    expect(outcome.stderr).toMatch(/latency \.\.\./)
    const { latency } = oneJsonLine<{ latency: { layers: unknown[] } }>(await quantize(at('fast.fewbit'), ...options, '--json'))
    expect(latency).toMatchObject({ images: Number(images), threads: 1 })
    const figures = { bits: expect.any(Number), milliseconds: expect.any(Number), millisecondsAt8: expect.any(Number) }
    expect(latency.layers[0]).toEqual({ layer: 'patch_embedding', ...figures })
  })

  test('an estimate comes before the search, and a published preset has the widths that are given', async () => {
    const outcome = await quantize(at('baseline.fewbit'), '--preset', 'minmax', '--weight-bits', '6')
    expect(outcome.stderr).toMatch(/this will take roughly \d+ (s|min)[\s\S]*observe \.\.\.\n/)
    expect(outcome.stdout).toMatch(/weights 6\.\d\d, activations 8\.00/)
  })

  test('parts of the preset can be left out, and the output says so', async () => {
    const options = ['--bits', '4', '--calibration-images', '8', '--without', 'sequence, bias']
    const outcome = await quantize(at('less.fewbit'), ...options)
    expect(outcome.stdout).toMatch(/^preset +best, without bias, without sequence, full coverage\n/m)
    expect(oneJsonLine(await quantize(at('less.fewbit'), ...options, '--json'))).toMatchObject({
      preset: 'best',
      without: ['repq', 'bias', 'sequence', 'norms'],
    })
    expect((await fewbit(['info', at('less.fewbit')])).stdout).toMatch(
      /^quantized +full coverage, preset best, without bias, without sequence$/m,
    )
    expect(oneJsonLine(await fewbit(['info', at('less.fewbit'), '--json']))).toMatchObject({
      preset: 'best',
      without: ['repq', 'bias', 'sequence', 'norms'],
    })
  })

  test('an average is spread as --allocation says', async () => {
    const options = ['--average-bits', '4.5', '--coverage', 'partial', '--calibration-images', '8']
    const bitsOf = async (allocation: string) => {
      expect((await quantize(at(`${allocation}.fewbit`), ...options, '--allocation', allocation)).code).toBe(0)
      const { operands, without } = oneJsonLine<ModelInfo>(await fewbit(['info', at(`${allocation}.fewbit`), '--json']))
      return { bits: operands.filter(({ operand }) => operand === 'weight').map(({ bits }) => bits), without }
    }
    const [greedy, even] = [await bitsOf('greedy'), await bitsOf('even')]
    expect(new Set(even.bits)).toEqual(new Set([4, 5]))
    expect(even.without).toContain('allocation')
    expect(greedy.bits).not.toEqual(even.bits)
    expect(greedy.without).toEqual(['repq', 'norms'])
    const outcome = await quantize(at('never.fewbit'), '--preset', 'mptq', '--allocation', 'greedy')
    expect(outcome.stderr).toMatch(/allocation is an option of the preset best, not of mptq/)
  })

  test('what excludes each other exits with 1 and names both', async () => {
    const outcome = await quantize(at('never.fewbit'), '--preset', 'mptq', '--max-drop', '1')
    expect(outcome).toMatchObject({ code: 1, stdout: '' })
    expect(outcome.stderr).toMatch(/maxDrop is an option of the preset best, not of mptq/)
    expect(existsSync(at('never.fewbit'))).toBe(false)
  })

  test('--report writes a page beside the model, and --json stays as it is', async () => {
    const outcome = await quantize(at('paged.fewbit'), '--bits', '8', '--calibration-images', '4', '--report', at('page.html'), '--json')
    expect(outcome).toMatchObject({ code: 0, stderr: expect.stringMatching(ESTIMATE) })
    expect(Object.keys(oneJsonLine<Quantized>(outcome))).toEqual(Object.keys(oneJsonLine<Quantized>(average)))
    const page = readFileSync(at('page.html'), 'utf8')
    expect(page).toMatch(/^<!DOCTYPE html>[\s\S]*<title>vit-digits<\/title>[\s\S]*<\/html>\n$/)
    expect(page).toContain('>layers.0.attention<')
    const refused = await fewbit(['quantize', at('missing'), '--calibrate', at('missing'), '-o', at('x.fewbit'), '--report', folder])
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/it is a folder/)
    const both = ['-o', at('both.fewbit'), '--report', at('./both.fewbit')]
    expect((await fewbit(['quantize', DIGITS, '--calibrate', at('calibration'), ...both])).stderr).toMatch(/--report and --output are both/)
    expect(existsSync(at('both.fewbit'))).toBe(false)
  })

  test.each(['read', 'observe'])('an abort at the stage %s leaves no file behind', async (stage) => {
    const abort = new AbortController()
    const onError = (text: string) => text.includes(stage) && abort.abort()
    const target = at('aborted.fewbit')
    const argv = ['quantize', DIGITS, '--calibrate', at('calibration'), '--bits', '8', '-o', target]
    expect(await fewbit(argv, { signal: abort.signal, onError })).toMatchObject({ code: 130, stdout: '' })
    expect(readdirSync(folder).filter((name) => name.includes('aborted'))).toEqual([])
  })

  test('an abort while the file is written leaves all of it and no other', async () => {
    const abort = new AbortController()
    const { rename } = fs
    let before: string[] = []
    const late = () => readdirSync(folder).filter((name) => name.includes('late'))
    const spy = jest.spyOn(fs, 'rename').mockImplementation((...paths) => {
      before = late()
      abort.abort()
      return rename(...paths)
    })
    const argv = ['quantize', at('vit-digits'), '--calibrate', at('calibration'), '--preset', 'minmax', '-o', at('late.fewbit')]
    const outcome = await fewbit(argv, { signal: abort.signal })
    spy.mockRestore()
    expect(before).toEqual([expect.stringMatching(/^\.late\.fewbit\..*\.tmp$/)])
    expect(outcome.code).toBe(0)
    expect(late()).toEqual(['late.fewbit'])
  })

  test.each([
    ['no name', () => '', /^fewbit: cannot write : the name of the file is empty\n$/],
    ['a name that is too long', () => at('x'.repeat(250)), /^fewbit: cannot write .*x: ENAMETOOLONG/],
  ])('%s is found out before any work', async (_, target, message) => {
    const outcome = await fewbit(['quantize', at('missing'), '--calibrate', at('missing'), '-o', target()])
    expect(outcome).toMatchObject({ code: 1, stdout: '' })
    expect(outcome.stderr).toMatch(message)
  })

  test('a folder that does not exist is found out before any work', async () => {
    const outcome = await fewbit(['quantize', at('missing'), '--calibrate', at('missing'), '-o', at('no/such/x.fewbit')])
    expect(outcome).toMatchObject({ code: 1, stdout: '' })
    expect(outcome.stderr).toMatch(/^fewbit: cannot write .*x\.fewbit: the folder .* does not exist\n$/)
    expect((await quantize(folder)).stderr).toMatch(/it is a folder/)
  })
})

describe('eval', () => {
  test.each([
    ['checkpoint', () => DIGITS],
    ['container', () => at('digits.fewbit')],
  ])('of a %s', async (_, model) => {
    const outcome = await fewbit(['eval', model(), '--data', at('test'), '--json', '--threads', '2'])
    expect(outcome).toMatchObject({ code: 0, stderr: '' })
    const json = oneJsonLine<Omit<Evaluation, 'predictions'>>(outcome)
    expect(json.images).toBe(50)
    expect(json.top1).toBeGreaterThan(0.9)
    expect(json.top5).toBeGreaterThanOrEqual(json.top1)
    expect(json.msPerImage).toBeGreaterThan(0)
    expect(Object.keys(json).sort()).toEqual(['images', 'interval', 'msPerImage', 'top1', 'top5', 'warnings'])
  })

  test('reads well without --json', async () => {
    const outcome = await fewbit(['eval', at('digits.fewbit'), '--data', at('test')])
    expect(outcome.code).toBe(0)
    expect(outcome.stdout).toMatch(/^top-1 +\d+\.\d\d % \(95 % interval .*\)\ntop-5 .*\nimages +50\ntime .* an image\n$/)
  })
})

test('layers on a slow path are named, with the reason: on stderr, or in the JSON', async () => {
  const { FEWBIT_ISA } = process.env
  process.env.FEWBIT_ISA = 'portable'
  try {
    const files = [at('digits.fewbit'), join(at('test'), '7-0.png')]
    const slow = /patches, .*layers\.0\.attention, .*head: runs on the portable path/
    const told = await fewbit(['classify', ...files])
    expect(told.stderr).toMatch(new RegExp(`^warning: ${slow.source}`, 'm'))
    const outcome = await fewbit(['classify', ...files, '--json'])
    expect(outcome.stderr).toBe('')
    expect(oneJsonLine<{ warnings: string[] }>(outcome).warnings).toContainEqual(expect.stringMatching(slow))
  } finally {
    if (FEWBIT_ISA === undefined) delete process.env.FEWBIT_ISA
    else process.env.FEWBIT_ISA = FEWBIT_ISA
  }
})

describe('classify', () => {
  test('prints files and their five likeliest classes', async () => {
    const files = [join(at('test'), '7-0.png'), join(at('test'), '1-0.png')]
    const outcome = await fewbit(['classify', at('digits.fewbit'), ...files, '--json'])
    expect(outcome).toMatchObject({ code: 0, stderr: '' })
    const { results } = oneJsonLine<{ results: { file: string; top5: Classification[] }[] }>(outcome)
    expect(results.map(({ file }) => file)).toEqual(files)
    for (const { top5 } of results) {
      expect(top5).toHaveLength(5)
      const probabilities = top5.map(({ probability }) => probability)
      expect(probabilities).toEqual([...probabilities].sort((a, b) => b - a))
    }
    expect(results.map(({ top5 }) => top5[0])).toMatchObject([
      { label: '7', index: 7 },
      { label: '1', index: 1 },
    ])
    const plain = await fewbit(['classify', at('digits.fewbit'), files[0]])
    expect(plain.stdout).toContain('7-0.png')
    expect(plain.stdout.trimEnd().split('\n')).toHaveLength(7)
  })
})

describe('info', () => {
  test('--json tells the code of every operand, and they average to the bits it states', async () => {
    const outcome = await fewbit(['info', at('average.fewbit'), '--json'])
    expect(outcome).toMatchObject({ code: 0, stderr: '' })
    const info = oneJsonLine<ModelInfo>(outcome)
    expect(info).toMatchObject({ architecture: 'vit', quantized: true, labels: 10, bytes: statSync(at('average.fewbit')).size })
    expect(info.input).toEqual({ channels: 1, height: 28, width: 28 })
    for (const kind of ['weight', 'activation'] as const) {
      const operands = info.operands.filter((operand) => operand.operand === kind)
      const sum = (f: (operand: OperandInfo) => number) => operands.reduce((total, operand) => total + f(operand), 0)
      const total = sum(({ bits, elements, fineElements }) => bits * (elements - fineElements) + 8 * fineElements)
      const average = total / sum(({ elements }) => elements)
      expect(average).toBeCloseTo(info[`${kind}Bits`], 6)
      for (const { bits } of operands) expect([2, 3, 4, 5, 6, 7, 8]).toContain(bits)
    }
    for (const { operand, bits, family, step, low, high, levels } of info.operands) {
      if (operand === 'weight') expect([step, low, high, levels]).toEqual([null, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, null])
      else expect(step).toBeGreaterThan(0)
      if (family === 'uniform' || family === 'o2sf') expect([(high as number) - (low as number), levels]).toEqual([2 ** bits - 1, null])
      else expect([levels?.length, levels?.[0], levels?.at(-1)]).toEqual([2 ** bits, low, high])
    }
    expect(new Set(info.operands.map(({ family }) => family)).size).toBeGreaterThan(1)
  })

  test('a float model has 32 bits everywhere', async () => {
    expect(oneJsonLine(await fewbit(['info', DIGITS, '--json']))).toMatchObject({
      quantized: false,
      weightBits: 32,
      activationBits: 32,
      operands: expect.arrayContaining([
        expect.objectContaining({ family: 'float', step: null, low: null, high: null, levels: null, relative: false, fineElements: 0 }),
      ]),
    })
  })

  test('prints no control characters of a container', async () => {
    const bytes = readFileSync(at('digits.fewbit'))
    const text = Buffer.from('"architecture\\":\\"vit\\"')
    const hostile = Buffer.from(bytes)
    const start = bytes.indexOf(text)
    expect(start).toBeGreaterThan(0)
    // Three bytes for three: the header keeps its length.
    hostile.write('\u009b\u007f', start + text.indexOf('vit'))
    writeFileSync(at('hostile.fewbit'), hostile)
    const { stdout, code } = await fewbit(['info', at('hostile.fewbit')])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^architecture +\ufffd\ufffd/)
  })

  test('is a table without --json', async () => {
    const { stdout, code } = await fewbit(['info', at('digits.fewbit')])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^architecture +vit\n/)
    expect(stdout).toMatch(/\nlayer +operand +name +bits +code +elements\n/)
  })
})

describe('bench', () => {
  test('of a file', async () => {
    const json = oneJsonLine<BenchmarkResult & Quantized>(
      await fewbit(['bench', at('digits.fewbit'), '--batch', '3', '--threads', '1', '--json']),
    )
    expect(json).toMatchObject({ batch: 3, weightBits: 8 })
    expect(json.min).toBeLessThanOrEqual(json.msPerImage)
    expect(json.msPerImage).toBeLessThanOrEqual(json.max)
    expect(json.min).toBeGreaterThan(0)
  })

  test('of an architecture with random weights', async () => {
    const json = oneJsonLine<BenchmarkResult & Quantized>(await fewbit(['bench', 'deit-tiny', '--json']))
    expect(json).toMatchObject({ architecture: 'deit', weightBits: 32, activationBits: 32 })
  })

  test('of a checkpoint, with as many bits as are asked for', async () => {
    const json = oneJsonLine<BenchmarkResult & Quantized>(await fewbit(['bench', at('vit-digits'), '--average-bits', '4.5', '--json']))
    expect(json.weightBits).toBeLessThanOrEqual(4.5)
    expect(json.activationBits).toBeLessThanOrEqual(4.5)
  })

  test('an unknown architecture names those that there are', async () => {
    const outcome = await fewbit(['bench', 'lenet'])
    expect(outcome).toMatchObject({ code: 1, stdout: '' })
    expect(outcome.stderr).toMatch(/^fewbit: .*lenet.*deit-small/s)
  })
})

describe('profile', () => {
  test('--json has every op with its time, its work and its roof', async () => {
    const json = oneJsonLine<Profile>(await fewbit(['profile', at('digits.fewbit'), '--batch', '2', '--threads', '1', '--json']))
    expect(json).toMatchObject({ batch: 2, threads: 1, advice: expect.any(Array) })
    expect(json.peaks.int8).toBeGreaterThan(0)
    const fc1 = json.ops.find(({ name }) => name === 'layers.0.mlp.fc1') as ProfiledOp
    expect(fc1).toMatchObject({ op: 'linearCodes', weightBits: 8 })
    for (const figure of [fc1.milliseconds, fc1.int8, fc1.floats, fc1.activationBytes, fc1.weightBytes]) expect(figure).toBeGreaterThan(0)
    expect(json.msPerImage).toBeCloseTo(json.ops.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / 2, 9)
  })

  test('for people it sums up the layers of all blocks, with --layers each stands alone', async () => {
    const whole = await fewbit(['profile', at('digits.fewbit')])
    expect(whole.stdout).toMatch(/^time +\S+ ms an image \(batch 1, /m)
    expect(whole.stdout).toMatch(/^layers\.\*\.mlp\.fc1 +linearCodes +\d+ +8 .*ms/m)
    const apart = await fewbit(['profile', at('digits.fewbit'), '--layers'])
    expect(apart.stdout).toMatch(/^layers\.0\.mlp\.fc1 +linearCodes +1 +8 .*ms/m)
  })

  test('names the layers that have no kernel of their own path', async () => {
    const { FEWBIT_ISA } = process.env
    process.env.FEWBIT_ISA = 'portable'
    try {
      const outcome = await fewbit(['profile', at('digits.fewbit')])
      expect(outcome.stdout).toMatch(/^patches, .*layers\.0\.mlp\.fc1, .*: runs on the portable path, plain C\+\+ .*fewbit doctor/m)
    } finally {
      if (FEWBIT_ISA === undefined) delete process.env.FEWBIT_ISA
      else process.env.FEWBIT_ISA = FEWBIT_ISA
    }
  })
})

describe('export', () => {
  test('writes a file that begins as ONNX does', async () => {
    const outcome = await fewbit(['export', DIGITS, '--onnx', 'float', '-o', at('digits.onnx'), '--json'])
    expect(outcome).toMatchObject({ code: 0, stderr: '' })
    const bytes = readFileSync(at('digits.onnx'))
    expect(oneJsonLine(outcome)).toEqual({ file: at('digits.onnx'), format: 'float', architecture: 'vit', bytes: bytes.length })
    expect(readOnnx(bytes)).toMatchObject({ opset: 17, producer: 'fewbit' })
  })

  test('calibrates int8-qdq, and says what it wrote', async () => {
    const outcome = await fewbit(['export', DIGITS, '--onnx', 'int8-qdq', '--calibrate', at('calibration'), '-o', at('qdq.onnx')])
    expect(outcome.code).toBe(0)
    expect(outcome.stdout).toMatch(/^file +.*qdq\.onnx\nsize +\S+ MiB\nform +int8-qdq, ONNX opset 17\n$/)
    expect(outcome.stderr).toMatch(/observe \.\.\./)
  })

  test('of an architecture with random weights, which noise calibrates', async () => {
    const write = async (file: string, ...more: string[]) => {
      expect(await fewbit(['export', 'deit-tiny', '-o', at(file), '--json', ...more])).toMatchObject({ code: 0, stderr: '' })
      return readFileSync(at(file))
    }
    const model = await randomModel('deit-tiny', { seed: 5 })
    expect((await write('random.onnx', '--onnx', 'float', '--seed', '5')).equals(await exportOnnx(model))).toBe(true)
    const { nodes } = readOnnx(await write('noise.onnx', '--onnx', 'int8-qdq'))
    expect(nodes.some(({ op }) => op === 'QuantizeLinear')).toBe(true)
    model.dispose()
  })

  test.each([
    ['a quantized model', () => [at('digits.fewbit'), '--onnx', 'float'], /this model is quantized/],
    ['int8-qdq without images', () => [DIGITS, '--onnx', 'int8-qdq'], /--calibrate DATA/],
    [
      'what is no path and no architecture',
      () => ['lenet', '--onnx', 'float'],
      /no file or folder lenet, and it is no architecture: .*deit-tiny/,
    ],
    ['images for another form', () => [DIGITS, '--onnx', 'float', '--calibrate', at('calibration')], /--calibrate\) is for int8-qdq alone/],
  ])('%s exits with 1 and writes nothing', async (_, argv, message) => {
    const outcome = await fewbit(['export', ...argv(), '-o', at('never.onnx')])
    expect(outcome).toMatchObject({ code: 1, stdout: '' })
    expect(outcome.stderr).toMatch(message)
    expect(existsSync(at('never.onnx'))).toBe(false)
  })
})

test('doctor lists every path of the CPU', async () => {
  const json = oneJsonLine(await fewbit(['doctor', '--json']))
  expect(JSON.stringify(json)).toMatch(/portable.*amx|amx.*portable/)
  const plain = await fewbit(['doctor'])
  expect(plain.code).toBe(0)
  expect(plain.stdout).toMatch(/portable/)
})

describe('bad input: one message without a stack, nothing on stdout, exit code 1', () => {
  const failing = async (argv: string[], message: RegExp) => {
    for (const json of [[], ['--json']]) {
      const outcome = await fewbit([...argv, ...json])
      expect(outcome).toMatchObject({ code: 1, stdout: '' })
      const lines = outcome.stderr.split('\n').filter((line) => !line.endsWith(' ...'))
      expect(lines[0]).toMatch(/^fewbit: /)
      expect(outcome.stderr).toMatch(message)
      expect(outcome.stderr).not.toMatch(/\n {4}at /)
    }
  }

  test('a model that does not exist', async () => {
    for (const argv of [['info'], ['eval', '--data', at('test')], ['bench']]) {
      await failing([argv[0], at('missing.fewbit'), ...argv.slice(1)], /missing\.fewbit/)
    }
  })

  test('a cache that cannot be made', async () => {
    writeFileSync(at('file'), '')
    await failing(
      ['quantize', DIGITS, '--calibrate', at('calibration'), '-o', at('x.fewbit'), '--cache', at('file/below')],
      /cannot be made/,
    )
  })

  test('data that does not exist, or is empty', async () => {
    await failing(['eval', at('digits.fewbit'), '--data', at('nowhere')], /nowhere/)
    const empty = mkdtempSync(at('empty-'))
    await failing(['quantize', DIGITS, '--calibrate', empty, '-o', at('empty.fewbit')], /empty-|no images/)
    expect(existsSync(at('empty.fewbit'))).toBe(false)
  })

  test('a truncated container, and one that is something else', async () => {
    cpSync(at('digits.fewbit'), at('short.fewbit'))
    truncateSync(at('short.fewbit'), 1000)
    await failing(['info', at('short.fewbit')], /short\.fewbit/)
    writeFileSync(at('text.fewbit'), 'this is no model')
    await failing(['classify', at('text.fewbit'), join(at('test'), '7-0.png')], /text\.fewbit/)
  })

  test('an image that is none', async () => {
    writeFileSync(at('zero.png'), '')
    writeFileSync(at('noise.png'), 'not an image at all')
    await failing(['classify', at('digits.fewbit'), at('zero.png')], /zero\.png/)
    await failing(['classify', at('digits.fewbit'), at('noise.png')], /noise\.png/)
    await failing(['classify', at('digits.fewbit'), at('absent.png')], /absent\.png/)
  })
})

const built = join(__dirname, '../../dist/esm/cli/main.js')
describe('the built program', () => {
  const call = (...argv: string[]) => spawnSync(process.execPath, [built, ...argv], { encoding: 'utf8' })

  test('prints its version and fails with exit codes', () => {
    const { version } = JSON.parse(readFileSync(join(__dirname, '../../package.json'), 'utf8'))
    expect(call('--version')).toMatchObject({ status: 0, stdout: `${version}\n` })
    expect(call('frobnicate')).toMatchObject({ status: 2, stdout: '' })
    expect(call('info', at('missing.fewbit'))).toMatchObject({ status: 1, stdout: '' })
  })

  test('prints one line of JSON', () => {
    const { status, stdout, stderr } = call('eval', at('digits.fewbit'), '--data', at('test'), '--json')
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(oneJsonLine<Evaluation>({ code: 0, stdout, stderr }).images).toBe(50)
  })

  test('an output that cannot be written is one line', () => {
    if (!existsSync('/dev/full')) return
    for (const json of [[], ['--json']]) {
      const full = openSync('/dev/full', 'w')
      const { status, stderr } = spawnSync(process.execPath, [built, 'info', at('digits.fewbit'), ...json], {
        encoding: 'utf8',
        stdio: ['ignore', full, 'pipe'],
      })
      closeSync(full)
      expect(status).toBe(1)
      expect(stderr).toMatch(/^fewbit: cannot write the output: .*ENOSPC.*\n$/)
    }
  })

  test('Ctrl-C in mid-run ends it with 130 and leaves nothing behind', async () => {
    const argv = ['quantize', DIGITS, '--calibrate', at('calibration'), '--average-bits', '4', '-o', at('interrupted.fewbit')]
    const child = spawn(process.execPath, [built, ...argv], { stdio: ['ignore', 'ignore', 'pipe'] })
    child.stderr.on('data', (text) => String(text).includes('observe') && child.kill('SIGINT'))
    expect(await once(child, 'exit')).toEqual([130, null])
    expect(readdirSync(folder).filter((name) => name.includes('interrupted'))).toEqual([])
  })
})
