import sharp from 'sharp'
import { loadBatch } from '../../lib/images/batch.js'
import { type Dataset, memoryDataset } from '../../lib/images/dataset.js'
import { type Preprocessing, preprocess } from '../../lib/images/preprocess.js'
import { sampleIndices } from '../../lib/images/sample.js'
import { quantile, turnsDuring } from '../support/turns.js'
import { noise } from './pixels.js'

const SMALL: Preprocessing = {
  resize: { mode: 'exact', height: 8, width: 8 },
  resample: 'bicubic',
  crop: null,
  rescale: 1 / 255,
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
  channels: 3,
  height: 8,
  width: 8,
}

describe('loadBatch', () => {
  test('is the images one by one, in the order asked for', async () => {
    const images = [noise(10, 10, 3), noise(8, 8, 1), noise(20, 5, 3), noise(64, 48, 3), noise(9, 9, 3), noise(8, 8, 3)]
    const indices = [5, 0, 3, 3, 1, 2, 4, 0]
    const batch = await loadBatch(memoryDataset(images), indices, SMALL)
    const wanted = new Float32Array(indices.length * 192)
    indices.forEach((index, i) => preprocess(images[index], SMALL, wanted, i * 192))
    expect(Buffer.compare(Buffer.from(batch.buffer), Buffer.from(wanted.buffer))).toBe(0)
  })

  test('no indices, no values', async () => {
    expect((await loadBatch(memoryDataset([noise(1, 1, 1)]), [], SMALL)).length).toBe(0)
  })

  test('never holds more than a few images ahead', async () => {
    let open = 0
    let most = 0
    const dataset: Dataset = {
      ...memoryDataset([noise(300, 300, 3)]),
      length: 40,
      name: String,
      async load() {
        most = Math.max(most, ++open)
        await new Promise((done) => setImmediate(done))
        open--
        return noise(8, 8, 3)
      },
    }
    await loadBatch(dataset, [...Array(40).keys()], SMALL)
    expect(most).toBeLessThanOrEqual(4)
    expect(most).toBeGreaterThan(1)
  })

  test('large images are decoded one by one, small ones beside them', async () => {
    const [small, large] = [100, 40e6]
    const pixels = [large, large, small, large, small, small, large, large]
    let held = 0
    let most = 0
    const dataset: Dataset = {
      ...memoryDataset([noise(8, 8, 3)]),
      length: pixels.length,
      name: String,
      async load(index, reserve) {
        // Later ones ask first.
        for (let i = pixels.length - index; i > 0; i--) await new Promise((done) => setImmediate(done))
        await reserve?.(pixels[index])
        held += pixels[index]
        most = Math.max(most, held)
        await new Promise((done) => setImmediate(done))
        held -= pixels[index]
        return noise(8, 8, 3)
      },
    }
    const batch = await loadBatch(dataset, [...pixels.keys()], SMALL)
    expect(batch.length).toBe(pixels.length * 192)
    expect(most).toBeGreaterThanOrEqual(large)
    expect(most).toBeLessThanOrEqual(large + 2 ** 26)
  })

  test('a file is decoded when there is room for its pixels', async () => {
    const file = await sharp({ create: { width: 30, height: 20, channels: 3, background: 'red' } })
      .png()
      .toBuffer()
    const asked: number[] = []
    const reserve = async (pixels: number) => void asked.push(pixels)
    await memoryDataset([file]).load(0, reserve)
    await memoryDataset([noise(8, 8, 3)]).load(0, reserve)
    expect(asked).toEqual([600])
    await expect(memoryDataset([file]).load(0, () => Promise.reject(new Error('full')))).rejects.toThrow('full')
  })

  test('the first error names its image, later ones do not end the process', async () => {
    const bad = Buffer.from('no image')
    const dataset = memoryDataset([noise(8, 8, 3), bad, bad, bad])
    await expect(loadBatch(dataset, [0, 1, 2, 3], SMALL)).rejects.toThrow(/cannot decode image 1: not an image/)
    await new Promise((done) => setTimeout(done, 50))
    const wrong: Preprocessing = { ...SMALL, resize: null }
    await expect(loadBatch(memoryDataset([noise(9, 8, 3)]), [0], wrong)).rejects.toThrow(/image 0 has 9 x 8 pixels/)
  })

  test('aborts before and amid', async () => {
    const dataset = memoryDataset([noise(1500, 1500, 3)])
    const reason = new Error('enough')
    await expect(loadBatch(dataset, [0], SMALL, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    setTimeout(() => controller.abort(reason), 5)
    await expect(loadBatch(dataset, new Array(200).fill(0), SMALL, { signal: controller.signal })).rejects.toBe(reason)
  })

  test('lets the event loop turn while large photos are reduced', async () => {
    const { data, width, height } = noise(2000, 1500, 3)
    const file = await sharp(Buffer.from(data), { raw: { width, height, channels: 3 } })
      .jpeg()
      .toBuffer()
    const dataset = memoryDataset([file])
    await loadBatch(dataset, [0, 0], SMALL)
    const turns = await turnsDuring(() => loadBatch(dataset, [0, 0, 0, 0], SMALL))
    expect(turns.length).toBeGreaterThan(5)
    expect(quantile(turns, 0.99)).toBeLessThan(20)
  })
})

describe('sampleIndices', () => {
  test('different indices in range, the same for the same seed', () => {
    const drawn = sampleIndices(1000, 300, 7)
    expect(new Set(drawn).size).toBe(300)
    expect(drawn.every((index) => Number.isInteger(index) && index >= 0 && index < 1000)).toBe(true)
    expect(sampleIndices(1000, 300, 7)).toEqual(drawn)
    expect(sampleIndices(1000, 300, 8)).not.toEqual(drawn)
  })

  test('all of them is a permutation', () => {
    expect(sampleIndices(50, 50, 1).sort((a, b) => a - b)).toEqual([...Array(50).keys()])
    expect(sampleIndices(0, 0, 1)).toEqual([])
  })

  test('every index is about equally likely', () => {
    const counts = new Array(20).fill(0)
    const draws = 4000
    for (let seed = 0; seed < draws; seed++) for (const index of sampleIndices(20, 5, seed)) counts[index]++
    // Binomial with p = 1/4: mean 1000, standard deviation 27.4; five of them.
    for (const count of counts) expect(Math.abs(count - draws / 4)).toBeLessThan(137)
  })

  test('refuses more than there are', () => {
    expect(() => sampleIndices(10, 11, 0)).toThrow(/count must be an integer from 0 to 10, not 11/)
    expect(() => sampleIndices(-1, 0, 0)).toThrow(/n must be/)
    expect(() => sampleIndices(2 ** 25, 1, 0)).toThrow(/n must be/)
  })
})
