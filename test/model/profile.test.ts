import { lower } from '../../lib/graph/lower.js'
import { devices, quantize } from '../../lib/index.js'
import { adviceFor, adviceLines, slowPaths, waste } from '../../lib/model/advice.js'
import { Model } from '../../lib/model/model.js'
import type { ProfiledOp } from '../../lib/model/profile.js'
import type { NativePath, Plan } from '../../lib/runtime/addon-types.js'
import { measurePeaks, readSpeed } from '../../lib/runtime/peaks.js'
import { normals } from '../support/random.js'
import { simpleScheme } from '../support/random-scheme.js'
import { SMALL_SHAPE, smallVit } from '../support/small-vit.js'
import { noise, tinyModel } from '../support/tiny-model.js'

test('a profile has every op of the plan, and its roofs follow from work and peaks', async () => {
  const float = await tinyModel()
  const model = await quantize(float, { calibrate: noise(1, 2), bits: 8, allocation: 'even' })
  const progress: number[] = []
  const profile = await model.profile({ batch: 3, runs: 2, threads: 1, onProgress: ({ done }) => progress.push(done) })
  expect(progress).toEqual([1, 2, 3, 4, 5])
  const { plan } = lower(model.parts.graph, model.parts.scheme)
  expect(profile.ops.map(({ op, name }) => ({ op, name }))).toEqual(plan.ops.map(({ op, name }) => ({ op, name })))
  expect(profile).toMatchObject({ batch: 3, runs: 2, threads: 1 })
  const { peaks } = profile
  for (const op of profile.ops) {
    expect(op.milliseconds).toBeGreaterThan(0)
    const computing = (1000 * op.int8) / peaks.int8 + (1000 * op.floats) / peaks.floats
    if (op.bound === 'operations') expect(op.roofline).toBeCloseTo(computing / op.milliseconds, 9)
    else expect(op.roofline).toBeGreaterThanOrEqual(computing / op.milliseconds)
  }
  await expect(model.profile({ batch: 0 })).rejects.toThrow('batch must be an integer from 1 to 4096, not 0')
  await expect(model.profile({ runs: 1.5 })).rejects.toThrow('runs must be a positive integer, not 1.5')
  await expect(model.profile({ seed: -1 })).rejects.toThrow(/seed/)
  for (const each of [float, model]) each.dispose()
})

test('peaks are measured up to the size that is asked for, and a size has the speed of the next larger one', async () => {
  expect((await measurePeaks('portable', [20_000, 100_000, 1])).reads.map(({ bytes }) => bytes)).toEqual([16384, 20_000, 65536, 100_000])
  const peaks = await measurePeaks('portable', [100_000])
  expect(peaks.reads.map(({ bytes }) => bytes)).toEqual([16384, 65536, 100_000])
  for (const rate of [peaks.int8, peaks.floats, ...peaks.reads.map(({ speed }) => speed)]) expect(rate).toBeGreaterThan(1e6)
  const [small, , large] = peaks.reads
  expect(readSpeed(peaks, 1)).toBe(small.speed)
  expect(readSpeed(peaks, 70_000)).toBe(large.speed)
  expect(readSpeed(peaks, 1e9)).toBe(large.speed)
})

test('layers are named whose path has no kernel for them, or whose blocks are mostly zeros', async () => {
  const graph = await smallVit({ classes: 3 })
  const scheme = simpleScheme(graph, normals(1, SMALL_SHAPE.channels * SMALL_SHAPE.imageHeight * SMALL_SHAPE.imageWidth))
  const { plan } = lower(graph, scheme)
  const reasonsOn = (path: NativePath['name']) => new Map(plan.ops.map((op) => [op.name, [...slowPaths(op, path), ...waste(op)]]))
  const padded = '36 inputs and 3 outputs are padded with zeros to 64 and 16'
  for (const { path, runs } of devices()) {
    if (path === null || path === 'portable' || !runs) continue
    expect(reasonsOn(path).get('layers.0.attention')).toEqual([])
    expect(reasonsOn(path).get('head')).toEqual([padded])
  }
  const portable = reasonsOn('portable')
  expect(portable.get('head')?.[1]).toBe(padded)
  for (const { op, name } of plan.ops) if (op !== 'copyRows') expect(portable.get(name)?.[0]).toMatch(/^runs on the portable path/)
})

test('layers far below their roof are named for what all that are alike take together', () => {
  // Copies have no kernel that could be slow, nor padding: nothing else is said of them.
  const rows = (name: string, milliseconds: number[], rooflines: number[]) =>
    milliseconds.map((ms, i) => ({ name: name.replace('*', String(i)), op: 'copyRows', milliseconds: ms, roofline: rooflines[i] }))
  const times = [
    ...rows('layers.*.slow', Array(12).fill(1), Array(12).fill(0.24)),
    // A quarter of the roof, with what took longer counting more: 0.1 * 3 + 0.7 * 1 of 4.
    ...rows('layers.*.mixed', [3, 1], [0.1, 0.7]),
    ...rows('layers.*.brief', Array(12).fill(0.2), Array(12).fill(0.1)),
    ...rows('head', [81.6], [0.9]),
  ] as ProfiledOp[]
  const advice = () => adviceLines(adviceFor({ ops: times as unknown as Plan['ops'] }, times, 'portable'))
  const slow = times.slice(0, 12).map(({ name }) => name)
  expect(advice()).toEqual([`${slow.join(', ')}: takes more than 4 times what the roofline allows`])
  times[13].roofline = 0.69
  expect(advice()).toEqual([`${slow.join(', ')}, layers.0.mixed, layers.1.mixed: takes more than 4 times what the roofline allows`])
})

test('a model tells before its first run, once, which layers fall to a slow path, each reason with all its layers', async () => {
  const float = await tinyModel()
  const warnings: string[] = []
  const onWarning = (message: string) => warnings.push(message)
  const slow = await quantize(float, { calibrate: noise(1, 2), bits: 8, allocation: 'even', isa: 'portable', onWarning })
  const names = lower(slow.parts.graph, slow.parts.scheme).plan.ops.flatMap(({ op, name }) => (op === 'copyRows' ? [] : [name]))
  const portable = `${names.join(', ')}: runs on the portable path, plain C++ for any processor: see fewbit doctor for what this processor lacks`
  expect(warnings).toContain(portable)
  expect(slow.quantization?.warnings).not.toContain(portable)
  expect(await slow.advice()).toEqual(expect.arrayContaining(names.map((layer) => expect.objectContaining({ layer }))))

  const { channels, height, width } = slow.input
  const pixels = new Float32Array(channels * height * width)
  for (const isa of ['portable', undefined]) {
    warnings.length = 0
    const model = new Model(slow.parts, { isa, onWarning })
    expect(warnings).toEqual([])
    for (let run = 0; run < 2; run++) await model.run(pixels, 1)
    expect(warnings.filter((warning) => warning.includes('plain C++'))).toEqual(isa === 'portable' ? [portable] : [])
    model.dispose()
  }
  for (const each of [float, slow]) each.dispose()
})
