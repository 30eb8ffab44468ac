import { amountsOf, estimateSeconds, measureSpeed, type Work } from '../../lib/quant/estimate.js'
import { NOTHING, type Part } from '../../lib/quant/parts.js'
import type { PublishedPart } from '../../lib/quant/published/parts.js'
import { normals } from '../support/random.js'
import { SMALL_SHAPE, smallVit } from '../support/small-vit.js'

const speed = { secondsPerMac: 1e-11, slowdown: 1 }
const third = { secondsPerMac: 3e-11, slowdown: 3 }
const work: Work = { preset: 'best', coverage: 'full', without: NOTHING, images: 32, widths: true, quantizations: 1, validated: 0 }

it.each(['best', 'mptq', 'tsptq', 'minmax'] as const)('%s takes longer with more images and more layers', async (preset) => {
  const graphs = [await smallVit({ layers: 2 }), await smallVit({ layers: 4 }), await smallVit({ layers: 4, hidden: 72 })]
  let last = 0
  for (const graph of graphs) {
    for (const images of [8, 32, 128]) {
      const seconds = estimateSeconds(graph, { ...work, preset, images }, speed)
      expect(seconds).toBeGreaterThan(images === 8 ? 0 : last)
      last = seconds
      expect(estimateSeconds(graph, { ...work, preset, images }, third)).toBeCloseTo(3 * seconds, 9)
    }
  }
  const seconds = await Promise.all(graphs.map(async (graph) => estimateSeconds(graph, { ...work, preset }, speed)))
  expect([...seconds].sort((a, b) => a - b)).toEqual(seconds)
})

it('more is to be done for widths that are searched, for full coverage, for each quantization and for validation', async () => {
  const graph = await smallVit()
  const least: Work = { ...work, coverage: 'partial', widths: false }
  const seconds = (more: Partial<Work>) => estimateSeconds(graph, { ...least, ...more }, speed)
  for (const more of [{ widths: true }, { coverage: 'full' as const }, { quantizations: 2 }, { validated: 100 }]) {
    expect(seconds(more)).toBeGreaterThan(seconds({}))
  }
})

it('less is to be done without parts of best, and no less without those that had nothing to do', async () => {
  const graph = await smallVit()
  const seconds = (parts: Part[], more: Partial<Work> = {}) => estimateSeconds(graph, { ...work, ...more, without: new Set(parts) }, speed)
  const slow: Part[] = ['smoothing', 'fisher', 'stream-rows', 'o2sf', 'compensation', 'descent', 'sequence', 'refit']
  for (const part of slow) expect([part, seconds([part]) < seconds([])]).toEqual([part, true])
  expect(seconds(['sequence', 'refit'])).toBe(seconds(['sequence']))
  expect(seconds(['compensation', 'descent'])).toBe(seconds(['compensation']))
  expect(seconds(['row-steps'])).toBeCloseTo(seconds(['descent']), 12)
  expect(seconds(slow, { preset: 'minmax' })).toBe(seconds([], { preset: 'minmax' }))
})

it('less is to be done without parts of a published preset, down to what the preset without them takes', async () => {
  const graph = await smallVit()
  const seconds = (preset: Work['preset'], ...without: PublishedPart[]) =>
    estimateSeconds(graph, { ...work, preset, without: new Set(without) }, speed)
  for (const part of ['search', 'fisher', 'sq-b', 'greedy-mp'] as const) expect(seconds('mptq', part)).toBeLessThan(seconds('mptq'))
  expect(seconds('mptq', 'sq-b', 'greedy-mp')).toBe(seconds('tsptq'))
  expect(seconds('tsptq', 'search', 'fisher')).toBe(seconds('minmax'))
})

it('codes in sequence are found twice where some images are left out of the first time, and else not at all', async () => {
  const graph = await smallVit()
  const sequence = (images: number) => {
    const seconds = (...without: Part[]) => estimateSeconds(graph, { ...work, images, without: new Set(without) }, speed)
    return seconds('row-sensitivity') - seconds('sequence')
  }
  // On 3 and 4 of four images, 4 and 5 of five, 6 and 8 of eight: two images more, and seven.
  const [four, five, eight] = [4, 5, 8].map(sequence)
  expect(four).toBeGreaterThan(0)
  expect((eight - four) / (five - four)).toBeCloseTo(3.5, 6)
  expect([sequence(1), sequence(3)]).toEqual([0, 0])
  const rows = (images: number, ...without: Part[]) =>
    estimateSeconds(graph, { ...work, images, without: new Set(without) }, speed) -
    estimateSeconds(graph, { ...work, images, without: new Set([...without, 'row-sensitivity']) }, speed)
  expect([rows(3), rows(8, 'sequence')]).toEqual([0, 0])
  expect(rows(4)).toBeGreaterThan(0)
  expect(rows(8) / rows(4)).toBeCloseTo(2, 6)
})

it('counts passes, elements times inputs, and sampled values', async () => {
  const graph = await smallVit({ layers: 0, distillationToken: false, distillationHead: false })
  const { hidden, classes, channels, patchHeight, patchWidth } = SMALL_SHAPE
  const [patch, patches] = [channels * patchHeight * patchWidth, 6]
  const amounts = amountsOf(graph, { coverage: 'partial', images: 2 })
  const macs = patches * patch * hidden + hidden * classes
  expect(amounts).toMatchObject({ passes: 2 * macs, trials: 4 * 2 * macs, compensation: patch ** 2 * hidden + hidden ** 2 * classes })
  expect(amounts).toMatchObject({ kinds: 2 * 2 * macs, drawn: 0 })
  expect(amounts.values).toBe(2 * (patches * patch + hidden))
  expect(amounts.columns).toBe(patch + hidden)
})

it('measures this machine on whatever images there are', async () => {
  const { imageHeight, imageWidth } = SMALL_SHAPE
  const { secondsPerMac, slowdown } = await measureSpeed(
    await smallVit(),
    { pixels: normals(1, 3 * imageHeight * imageWidth), images: 1 },
    {},
  )
  expect(secondsPerMac).toBeGreaterThan(0)
  expect(slowdown).toBeGreaterThan(0)
})
