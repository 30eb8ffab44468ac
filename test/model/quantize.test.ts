import {
  type Dataset,
  type FloorReached,
  load,
  type Model,
  memoryDataset,
  type Quantization,
  type QuantizationReport,
  type QuantizeOptions,
  quantize,
} from '../../lib/index.js'
import { quantizationFromJson } from '../../lib/model/quantization.js'
import { temporaryFolder } from '../support/folder.js'
import { answered, clearNoise, noise, tinyModel } from '../support/tiny-model.js'

const folder = temporaryFolder()
const calibrate = noise(1, 8)
let float: Model

beforeAll(async () => {
  float = await tinyModel()
})
afterAll(() => float.dispose())

describe('presets, coverage and widths', () => {
  it.each<[Partial<QuantizeOptions>, string, string, number, number]>([
    [{}, 'best', 'full', 8, 8],
    [{ weightBits: 5, coverage: 'partial' }, 'best', 'partial', 5, 8],
    [{ weightBits: 4, activationBits: 6, coverage: 'partial' }, 'best', 'partial', 4, 6],
    [{ preset: 'minmax', bits: 6, coverage: 'full' }, 'minmax', 'full', 6, 6],
    [{ preset: 'tsptq', activationBits: 5, coverage: 'partial' }, 'tsptq', 'partial', 8, 5],
    [{ preset: 'mptq', averageBits: 6, coverage: 'partial' }, 'mptq', 'partial', 6, 6],
  ])('%j', async (options, preset, coverage, weightBits, activationBits) => {
    const small = await quantize(float, { calibrate, ...options })
    const info = small.info()
    expect(info).toMatchObject({ preset, coverage })
    for (const { operand, bits, layer } of info.operands) {
      if (options.averageBits !== undefined || layer === 'patch_embedding' || operand === 'rounded') continue
      expect([layer, bits]).toEqual([layer, operand === 'weight' ? weightBits : activationBits])
    }
    if (options.averageBits !== undefined) expect(Math.max(info.weightBits, info.activationBits)).toBeLessThanOrEqual(options.averageBits)
    expect(small.quantization).toMatchObject({ preset, floor: null, warnings: [] })
    expect(small.quantization?.divergence).toBeGreaterThanOrEqual(0)
    small.dispose()
  })

  it('and parts that are left out are told by the file, each once', async () => {
    const small = await quantize(float, { calibrate, bits: 4, without: ['refit', 'head-steps', 'refit'] })
    expect(small.quantization?.without).toEqual(['repq', 'head-steps', 'norms', 'refit'])
    const file = `${folder.path}/less.fewbit`
    await small.save(file)
    const back = await load(file)
    expect(back.quantization).toEqual(small.quantization)
    expect([back.info().without, small.info().without, float.info().without]).toEqual([
      ['repq', 'head-steps', 'norms', 'refit'],
      ['repq', 'head-steps', 'norms', 'refit'],
      [],
    ])
    expect(small.info().operands).not.toEqual((await quantize(float, { calibrate, bits: 4 })).info().operands)
  })

  it('and so are those of a published preset', async () => {
    const small = await quantize(float, { calibrate, bits: 4, preset: 'mptq', without: ['opt-m', 'sq-b'] })
    const file = `${folder.path}/published.fewbit`
    await small.save(file)
    expect((await load(file)).info()).toMatchObject({ preset: 'mptq', without: ['sq-b', 'opt-m'] })
  })

  it('and parts that are left out by default are there when they are asked for', async () => {
    const small = await quantize(float, { calibrate, bits: 4, with: ['norms'] })
    expect(small.info().without).toEqual(['repq'])
  })

  it('and so are those that the allocation leaves out, beside those that were named', async () => {
    const small = await quantize(float, { calibrate, averageBits: 5, allocation: 'even', without: ['bias', 'allocation'] })
    expect(small.info().without).toEqual(['repq', 'fisher', 'compensation', 'bias', 'allocation', 'sequence', 'norms'])
  })

  it('of files that do not say what was left out are taken to be whole', () => {
    const known = { preset: 'best', divergence: 0.1, spread: 0.2, floor: null }
    expect(quantizationFromJson(known)).toEqual({ ...known, without: [], trajectory: [], warnings: [] })
  })

  it('of Greedy MP come with its steps, which begin at 8 bits, end at the averages, and are kept in the file and the cache', async () => {
    const options = { calibrate, preset: 'mptq', averageBits: 5, cache: `${folder.path}/steps` } as const
    const small = await quantize(float, options)
    const { trajectory } = small.quantization as Quantization
    const { weightBits, activationBits, operands } = small.info()
    expect(trajectory.at(-1)).toMatchObject({ divergence: expect.any(Number) })
    expect(trajectory.at(-1)?.weightBits).toBeCloseTo(weightBits, 9)
    expect(trajectory.at(-1)?.activationBits).toBeCloseTo(activationBits, 9)
    expect(Math.max(weightBits, activationBits)).toBeLessThanOrEqual(5)
    const lost = (unit: string) => trajectory.filter((step) => step.unit === unit).map(({ from, to }) => [from, to])
    for (const { name, bits, operand } of operands)
      expect([name, lost(name)]).toEqual([name, operand === 'rounded' ? [] : Array.from({ length: 8 - bits }, (_, i) => [8 - i, 7 - i])])
    await small.save(`${folder.path}/steps.fewbit`)
    expect((await load(`${folder.path}/steps.fewbit`)).quantization).toEqual(small.quantization)
    expect((await quantize(float, options)).quantization).toEqual(small.quantization)
    const known = JSON.parse(JSON.stringify(small.quantization))
    expect(quantizationFromJson({ ...known, trajectory: [{ unit: 'weight' }] })).toBeNull()
  })

  it('are told by the file', async () => {
    const small = await quantize(float, { calibrate, preset: 'minmax' })
    const file = `${folder.path}/told.fewbit`
    await small.save(file)
    const back = await load(file)
    expect(back.quantization).toEqual(small.quantization)
    expect(back.info()).toEqual(small.info())
    expect(float.quantization).toBeNull()
  })
})

it.each<[object, RegExp]>([
  [{ bit: 4 }, /quantize has no option bit; its options are calibrate, .*bits, weightBits/],
  [{ preset: 'better' }, /preset must be 'best' or 'mptq' or 'tsptq' or 'minmax', not 'better'/],
  [{ coverage: 'most' }, /coverage must be 'full' or 'partial', not 'most'/],
  [{ weightBits: 9 }, /weightBits must be an integer from 2 to 8, not 9/],
  [{ activationBits: 2.5 }, /activationBits must be an integer/],
  [{ bits: 4, weightBits: 4 }, /give one of bits, weightBits with activationBits, and averageBits/],
  [{ averageBits: 4, activationBits: 4 }, /give one of/],
  [{ averageBits: 1.9 }, /averageBits must be from 2 to 8, not 1.9/],
  [{ averageBits: Number.NaN }, /averageBits must be from 2 to 8/],
  [{ preset: 'tsptq', averageBits: 4 }, /tsptq has one width for all operands/],
  [{ preset: 'mptq', averageBits: 2.5 }, /averageBits must be from 3 to 8 with the preset mptq, not 2.5/],
  [{ bits: 4, allocation: 'greedy' }, /the allocation 'greedy' spreads an average: give averageBits or maxDrop/],
  [{ preset: 'mptq', allocation: 'even' }, /allocation is an option of the preset best, not of mptq/],
  [{ without: ['refit', 'bits'] }, /the preset best has no part "bits"; its parts are rotation, .*sequence, row-sensitivity, norms, refit/],
  [{ without: [['refit']] }, /has no part \["refit"\]/],
  [{ with: ['refit'] }, /with: "refit" is none of the parts that are left out by default: repq, norms/],
  [{ with: ['norms'], without: ['norms'] }, /with and without both have the part "norms"/],
  [{ with: 'norms' }, /with must be a list of parts, not a string/],
  [{ with: [], preset: 'mptq' }, /with asks for parts of the preset best, not of mptq/],
  [{ without: 'refit' }, /without must be a list of parts, not a string/],
  [
    { without: ['bias'], preset: 'mptq' },
    /the preset mptq has no part "bias"; its parts are search, fisher, v2sf, o2sf, sq-b, opt-m, greedy-mp/,
  ],
  [{ without: ['search'], preset: 'minmax' }, /the preset minmax has no part "search"; its parts are none/],
  [{ without: ['greedy-mp'], preset: 'mptq', averageBits: 5 }, /averageBits needs the part 'greedy-mp', which without leaves out/],
  [
    { without: ['allocation'], allocation: 'greedy', averageBits: 5 },
    /the allocation 'greedy' is the part that without: \['allocation'\] leaves out/,
  ],
  [{ without: ['allocation'], maxDrop: 1 }, /maxDrop and without: \['allocation'\], which .* exclude each other/],
  [{ without: ['allocation'], objective: 'latency', averageBits: 5 }, /'latency' and without: \['allocation'\], which .* exclude each/],
  [{ allocation: 'even', objective: 'latency', averageBits: 5 }, /'latency' and the allocation 'even', which .* exclude each other/],
  [{ preset: 'mptq', objective: 'latency', averageBits: 5 }, /'latency' is an option of the preset best, not of mptq/],
  [{ maxDrop: -1 }, /maxDrop must be percentage points from 0 to 100, not -1/],
  [{ maxDrop: Number.NaN }, /maxDrop must be/],
  [{ maxDrop: 1, preset: 'mptq' }, /maxDrop is an option of the preset best/],
  [{ maxDrop: 1, weightBits: 4 }, /maxDrop chooses widths itself/],
  [{ maxDrop: 1, averageBits: 4, allocation: 'even' }, /maxDrop and the allocation 'even', which .* exclude each other/],
  [{ validate: [] }, /give maxDrop, too/],
  [{ cache: '' }, /cache must be the path of a folder/],
])('refuses %j', async (options, message) => {
  await expect(quantize(float, { calibrate, ...options } as QuantizeOptions)).rejects.toThrow(message)
})

it('an average that the patch embedding alone exceeds is refused before anything is read, and the one that the message names holds', async () => {
  const quantized = (averageBits: number, onProgress?: QuantizeOptions['onProgress']) =>
    quantize(float, { calibrate, preset: 'mptq', averageBits, onProgress })
  const told = await quantized(3, () => expect('progress').toBe('none')).catch((error) => String(error.message))
  expect(told).toMatch(/an average of 3 bits \(averageBits\) cannot be reached: weights average \d\.\d\d bits at least/)
  const least = Number(/average (\d\.\d\d) bits at least/.exec(told as string)?.[1])
  await expect(quantized(least - 0.01)).rejects.toThrow('cannot be reached')
  const { weightBits } = (await quantized(least)).info()
  expect(weightBits).toBeLessThanOrEqual(least)
  expect(weightBits).toBeGreaterThan(least - 0.01)
})

interface Heard {
  done: number
  total: number
}

/** Expects of each stage that it rises to a total that stays, and keeps the last that was heard of it. */
function rising(stages: Map<string, Heard>): NonNullable<QuantizeOptions['onProgress']> {
  return ({ stage, done, total }) => {
    const before = stages.get(stage) ?? { done: 0, total }
    expect({ stage, total, rises: done >= before.done && done <= total }).toEqual({ stage, total: before.total, rises: true })
    stages.set(stage, { done, total })
  }
}

describe('an accuracy floor', () => {
  let validate: Dataset
  let small: Model
  let report: QuantizationReport
  const stages = new Map<string, Heard>()
  beforeAll(async () => {
    validate = await answered(float, await clearNoise(float, 2, 100))
    small = await quantize(float, {
      calibrate,
      maxDrop: 6,
      validate,
      onReport: (made) => void (report = made),
      onProgress: rising(stages),
    })
  })

  it('has stages that rise, however many models are tried', () => {
    expect([...stages.keys()]).toEqual(['read', 'validate', 'observe', 'smooth', 'measure', 'quantize', 'report'])
    const models = report.points.length - 1
    for (const [stage, of] of [
      ['quantize', 7],
      ['validate', 8],
    ] as const) {
      const { done, total } = stages.get(stage) as Heard
      expect([stage, (of * done) / total]).toEqual([stage, models + of - 7])
    }
  })

  it('and rise where the cache has models, too', async () => {
    const options = { calibrate, bits: 7, maxDrop: 100, validate: noise(2, 10), cache: `${folder.path}/rising` }
    const [first, again] = [new Map<string, Heard>(), new Map<string, Heard>()]
    await quantize(float, { ...options, onProgress: rising(first) })
    await quantize(float, { ...options, onReport: () => {}, onProgress: rising(again) })
    expect([first.get('validate')?.done, again.get('validate')?.done]).toEqual([20, 20])
    expect([...again.keys()]).toEqual(['read', 'validate', 'observe', 'smooth', 'quantize', 'report'])
    expect(again.get('quantize')?.done).toBe(again.get('quantize')?.total)
  })

  it('hands on what it measured of all models that it tried', async () => {
    const floor = small.quantization?.floor as FloorReached
    const [first, ...tried] = report.points
    expect(first).toEqual({ name: 'float', bytes: float.info().bytes, accuracy: 1, divergence: 0 })
    expect(tried.map(({ name }) => name).slice(0, 2)).toEqual(['3 bits', '8 bits'])
    for (const { name, accuracy, bytes, divergence } of tried) {
      // Of 100 images, so that what is right is a whole number of points.
      const holds = Math.round(100 * (accuracy as number)) >= 94
      expect([name, holds]).toEqual([name, Number.parseFloat(name) >= floor.averageBits])
      expect([bytes < first.bytes, (divergence as number) > 0]).toEqual([true, true])
    }
    expect(tried).toContainEqual({
      ...{ name: `${floor.averageBits} bits`, bytes: expect.any(Number), divergence: small.quantization?.divergence },
      accuracy: expect.closeTo((await small.evaluate(validate)).top1, 9),
    })
  })

  it('takes the least average that holds on labelled images, which the model says and keeps', async () => {
    const floor = small.quantization?.floor
    const { top1 } = await small.evaluate(validate)
    expect(floor).toMatchObject({ maxDrop: 6, images: 100, labelled: true })
    expect(floor?.drop).toBeCloseTo(100 * (1 - top1), 9)
    expect(floor?.drop).toBeLessThanOrEqual(6)
    expect(floor?.averageBits).toBeGreaterThan(3)
    expect(floor?.interval[0]).toBeLessThanOrEqual(floor?.drop as number)
    expect(small.info().weightBits).toBeLessThanOrEqual(floor?.averageBits as number)
    const below = await quantize(float, { calibrate, averageBits: (floor?.averageBits as number) - 0.25 })
    expect(100 * (1 - (await below.evaluate(validate)).top1)).toBeGreaterThan(6)
    await small.save(`${folder.path}/floor.fewbit`)
    expect((await load(`${folder.path}/floor.fewbit`)).quantization?.floor).toEqual(floor)
  })

  it('starts at the widths that are given, and keeps them when they hold', async () => {
    const validate = noise(2, 40)
    const small = await quantize(float, { calibrate, bits: 7, maxDrop: 100, validate })
    expect(small.quantization?.floor).toMatchObject({ averageBits: 7, labelled: false, images: 40 })
    expect(
      small
        .info()
        .operands.filter(({ operand }) => operand === 'weight')
        .some(({ bits }) => bits === 7),
    ).toBe(true)
  })

  it('refuses what not even 8 bits keep, and says what was measured and what to do', async () => {
    const refused = quantize(float, { calibrate, bits: 8, maxDrop: 0, validate: noise(4, 400) })
    await expect(refused).rejects.toThrow(
      /^maxDrop 0 cannot be kept: even with 8 bits for all, \d+\.\d\d % of the answers change .*interval.* no labels on 400 images\. Remedies: .*validate on images with labels; allow a larger maxDrop/,
    )
  })

  it('measures on what calibration left, or else says that it is optimistic', async () => {
    const all = noise(5, 110)
    const warnings: string[] = []
    const onWarning = (message: string) => warnings.push(message)
    const enough = await quantize(float, { calibrate: all, calibrationImages: 10, bits: 8, maxDrop: 100, onWarning })
    expect(enough.quantization?.floor?.images).toBe(100)
    expect(warnings).toEqual([])
    const few = await quantize(float, { calibrate: all, calibrationImages: 11, bits: 8, maxDrop: 100, onWarning })
    expect(few.quantization?.floor?.images).toBe(11)
    expect(warnings).toEqual([
      expect.stringMatching(/on the 11 calibration images themselves, which is optimistic: of 110 images 99 are left/),
    ])
  })

  it('takes labels of calibration images where they fit, and says so where they do not', async () => {
    const images = noise(6, 108)
    const options = { calibrationImages: 8, bits: 8, maxDrop: 100 }
    const fitting = await quantize(float, { calibrate: await answered(float, images), ...options })
    expect(fitting.quantization?.floor).toMatchObject({ labelled: true, images: 100 })
    const others = await quantize(float, {
      calibrate: memoryDataset(
        images,
        new Int32Array(108).fill(99).map((x, i) => x + (i & 1)),
      ),
      ...options,
    })
    expect(others.quantization?.floor).toMatchObject({ labelled: false, images: 100 })
    expect(others.quantization?.warnings).toEqual([expect.stringMatching(/do not fit the model.*label (99|100)/)])
    const validate = memoryDataset(images, new Int32Array(108).fill(99))
    await expect(quantize(float, { calibrate, maxDrop: 1, validate })).rejects.toThrow('has the label 99')
  })
})

describe('warnings', () => {
  it('few images and one class come with the measured spread', async () => {
    const small = await quantize(float, { calibrate: memoryDataset(noise(7, 5), [3, 3, 3, 3, 3]) })
    const { warnings, divergence, spread } = small.quantization as NonNullable<Model['quantization']>
    const measured = `${divergence.toPrecision(3)} nats with a standard deviation of ${spread.toPrecision(3)} from image to image`
    expect(warnings).toEqual([expect.stringContaining(measured), expect.stringContaining(measured)])
    expect(warnings[0]).toMatch(/^only 5 calibration images/)
    expect(warnings[1]).toMatch(/^all 5 calibration images are of one class/)
    const one = await quantize(float, { calibrate: noise(7, 1) })
    expect(one.quantization?.warnings).toEqual([expect.stringMatching(/^only 1 calibration image, .* cannot be measured on one$/)])
  })

  it.each<Partial<QuantizeOptions>>([{}, { averageBits: 3 }, { bits: 4, coverage: 'partial' }])(
    'name what is constant or zero: %j',
    async (options) => {
      const dead = await tinyModel()
      const constant = (name: string) => dead.parts.graph.constants.get(name)?.data as Float32Array
      for (const name of ['weight', 'bias']) constant(`layers.0.norm2.${name}`).fill(0)
      constant('layers.1.mlp.fc2.weight').fill(0, 0, 70)
      const small = await quantize(dead, { calibrate, ...options })
      expect(small.quantization?.warnings).toEqual([
        expect.stringMatching(/^zero on all calibration images: .*layers\.0\.norm2/),
        expect.stringMatching(/^the same on all calibration images: layers\.0\.mlp/),
        expect.stringMatching(/rows of zeros.*: layers\.1\.mlp\.fc2 \(1 of 36 rows\)/),
      ])
      expect((await small.classify(noise(2, 1), { top: 1 }))[0][0].probability).toBeGreaterThan(0)
    },
  )
})

it('estimates once, before the search', async () => {
  const heard: string[] = []
  await quantize(float, {
    ...{ calibrate, averageBits: 5 },
    onEstimate: (seconds) => heard.push(seconds > 0 ? 'estimate' : 'nothing'),
    onProgress: ({ stage }) => heard.at(-1) !== stage && heard.push(stage),
  })
  expect(heard).toEqual(['read', 'estimate', 'observe', 'smooth', 'measure', 'quantize'])
})

it.each(['read', 'latency', 'observe', 'smooth', 'measure', 'quantize', 'validate', 'report'])(
  'ends at once when it is interrupted at the stage %s, and leaves the float model as it was',
  async (interrupted) => {
    const abort = new AbortController()
    const reason = new Error('enough')
    const stages = new Set<string>()
    const asked = interrupted === 'latency' ? { objective: 'latency' as const } : {}
    const floor = interrupted === 'validate' ? { maxDrop: 100, validate: noise(3, 20) } : {}
    const running = quantize(float, {
      ...{ calibrate, averageBits: 5, ...asked, ...floor, signal: abort.signal, onReport: () => expect('a report').toBe('not made') },
      onProgress: ({ stage }) => {
        stages.add(stage)
        if (stage === interrupted) abort.abort(reason)
      },
    })
    await expect(running).rejects.toBe(reason)
    expect([...stages].at(-1)).toBe(interrupted)
    expect((await float.classify(noise(2, 1), { top: 1 }))[0]).toHaveLength(1)
  },
)
