import { readFileSync } from 'node:fs'
import { openSafetensors } from '../../lib/checkpoint/safetensors.js'
import { decodeImage } from '../../lib/images/decode.js'
import type { RawImage } from '../../lib/images/image.js'
import {
  checkPreprocessing,
  type Preprocessing,
  preprocess,
  preprocessingFromConfig,
  preprocessingFromTimm,
} from '../../lib/images/preprocess.js'
import { resize } from '../../lib/images/resize.js'
import { describeWith, shared } from '../support/shared.js'
import { noise } from './pixels.js'

const PHOTOS = ['espresso', 'goldfish', 'sports_car', 'tabby']

function run(image: RawImage, p: Preprocessing): Float32Array {
  const target = new Float32Array(p.channels * p.height * p.width)
  preprocess(image, p, target)
  return target
}

/** Nothing but pixels: the target holds the bytes. */
const plain: Preprocessing = {
  resize: null,
  resample: 'bilinear',
  crop: null,
  rescale: 1,
  mean: [0],
  std: [1],
  channels: 1,
  height: 1,
  width: 1,
}

describeWith('golden/preprocess.safetensors')('transformers processors of ../shared/golden', () => {
  const { processors } = existing(shared('golden/preprocess.json')) as { processors: Record<string, Record<string, unknown>> }
  const types: Record<string, string> = { vit: 'ViT', deit: 'DeiT', 'resnet-convnext-224': 'ConvNext' }

  test.each(Object.keys(types))('%s', async (processor) => {
    const config = { ...processors[processor], image_processor_type: `${types[processor]}ImageProcessor` }
    const p = preprocessingFromConfig(config, {})
    expect([p.channels, p.height, p.width]).toEqual([3, 224, 224])
    const golden = await openSafetensors(shared('golden/preprocess.safetensors'))
    try {
      for (const photo of PHOTOS) {
        const { shape, data } = await golden.tensor(`${processor}/${photo}`)
        expect(shape).toEqual([3, 56, 56])
        const found = run(await decodeImage(shared('photos', `${photo}.jpg`)), p)
        let sum = 0
        let worst = 0
        data.forEach((wanted, i) => {
          const [c, y, x] = [Math.floor(i / 3136), Math.floor(i / 56) % 56, i % 56]
          const difference = Math.abs(wanted - found[(c * 224 + 4 * y) * 224 + 4 * x])
          sum += difference
          worst = Math.max(worst, difference)
        })
        expect(sum / data.length).toBeLessThan(0.01)
        expect(worst).toBeLessThan(0.15)
      }
    } finally {
      await golden.close()
    }
  })
})

describeWith('zoo/vit-tiny-imagenet/config.json')('timm', () => {
  test('vit-tiny: 248 pixels on the shorter side, the middle 224, (p / 255 - 0.5) / 0.5', async () => {
    const p = preprocessingFromConfig(null, existing(shared('zoo/vit-tiny-imagenet/config.json')))
    expect(p).toEqual({
      resize: { mode: 'shortest', edge: 248 },
      resample: 'bicubic',
      crop: { height: 224, width: 224, rounding: 'even' },
      rescale: 1 / 255,
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
      channels: 3,
      height: 224,
      width: 224,
    })
    const image = await decodeImage(shared('photos/tabby.jpg'))
    expect([image.width, image.height]).toEqual([335, 500])
    // int(248 * 500 / 335) = 370; (370 - 224) / 2 = 73; (248 - 224) / 2 = 12
    const resized = resize(image, 248, 370, 'bicubic')
    const found = run(image, p)
    for (let c = 0, i = 0; c < 3; c++) {
      for (let y = 0; y < 224; y++) {
        for (let x = 0; x < 224; x++, i++) {
          const wanted = (resized.data[((y + 73) * 248 + x + 12) * 3 + c] / 255 - 0.5) / 0.5
          if (Math.abs(found[i] - wanted) > 1e-6) throw new Error(`${c} ${y} ${x}: ${found[i]} instead of ${wanted}`)
        }
      }
    }
  })
})

describe('arithmetic', () => {
  test('channels become planes, each with its own mean and deviation', () => {
    const image: RawImage = { data: Uint8Array.of(0, 51, 255, 102, 153, 204), width: 2, height: 1, channels: 3 }
    const p = { ...plain, channels: 3 as const, width: 2, rescale: 1 / 255, mean: [0.5, 0.2, 0], std: [0.5, 0.1, 2] }
    const wanted = [-1, -0.2, 0, 4, 0.5, 0.4]
    const found = run(image, p)
    wanted.forEach((value, i) => expect(found[i]).toBeCloseTo(value, 5))
  })

  test('each step is rounded to float32, as in numpy', () => {
    const p = { ...plain, rescale: 1 / 255, mean: [0.485], std: [0.229] }
    const { fround } = Math
    for (let value = 0; value < 256; value++) {
      const [found] = run({ data: Uint8Array.of(value), width: 1, height: 1, channels: 1 }, p)
      expect(found).toBe(fround(fround(fround(value * (1 / 255)) - fround(0.485)) / fround(0.229)))
    }
  })

  test('32 x 32 to 32 x 32 changes no pixel', () => {
    const image = noise(32, 32, 1)
    const found = run(image, { ...plain, resize: { mode: 'exact', height: 32, width: 32 }, height: 32, width: 32 })
    expect([...found]).toEqual([...image.data])
  })

  test('a colour image for a grey model, and the other way round', () => {
    const colour: RawImage = { data: Uint8Array.of(255, 0, 0), width: 1, height: 1, channels: 3 }
    expect([...run(colour, plain)]).toEqual([76])
    const grey: RawImage = { data: Uint8Array.of(9), width: 1, height: 1, channels: 1 }
    expect([...run(grey, { ...plain, channels: 3, mean: [0, 0, 0], std: [1, 1, 1] })]).toEqual([9, 9, 9])
  })

  test('writes from the offset on and nothing else', () => {
    const target = new Float32Array(6).fill(-7)
    preprocess(noise(2, 2, 1), { ...plain, height: 2, width: 2 }, target, 1)
    expect([...target]).toEqual([-7, ...noise(2, 2, 1).data, -7])
  })
})

describe('cropping', () => {
  const row = (length: number): RawImage => ({ data: Uint8Array.from({ length }, (_, i) => i + 1), width: length, height: 1, channels: 1 })
  const cropTo = (width: number, rounding?: 'even'): Preprocessing => ({ ...plain, crop: { height: 1, width, rounding }, width })

  test('takes the middle', () => {
    expect([...run(row(8), cropTo(4))]).toEqual([3, 4, 5, 6])
  })

  test('half a pixel: down, or to even', () => {
    // Margins of 1/2, 3/2 and 5/2: Python's round gives 0, 2 and 2.
    expect([5, 7, 9].map((length) => run(row(length), cropTo(4))[0])).toEqual([1, 2, 3])
    expect([5, 7, 9].map((length) => run(row(length), cropTo(4, 'even'))[0])).toEqual([1, 3, 3])
  })

  test('black around what is too small', () => {
    expect([...run(row(2), cropTo(5))]).toEqual([0, 1, 2, 0, 0])
    const p = { ...plain, crop: { height: 3, width: 1 }, height: 3, rescale: 1 / 255, mean: [0.5], std: [0.5] }
    const found = run({ data: Uint8Array.of(255), width: 1, height: 1, channels: 1 }, p)
    expect([...found]).toEqual([-1, 1, -1])
  })

  test('the shorter side, upright and lying', () => {
    // int(4 * 11 / 6) = 7 along, 4 across.
    const p: Preprocessing = { ...plain, resize: { mode: 'shortest', edge: 4 }, crop: { height: 4, width: 4 }, height: 4, width: 4 }
    const lying = noise(11, 6, 1)
    const wide = resize(lying, 7, 4, 'bilinear')
    expect([...run(lying, p)]).toEqual(Array.from({ length: 16 }, (_, i) => wide.data[Math.floor(i / 4) * 7 + 1 + (i % 4)]))
    const upright = noise(6, 11, 1)
    const tall = resize(upright, 4, 7, 'bilinear')
    expect([...run(upright, p)]).toEqual([...tall.data.slice(4, 20)])
  })
})

describe('refusals', () => {
  test('an image of another size when the checkpoint does not resize', () => {
    expect(() => run(noise(5, 4, 1), { ...plain, height: 4, width: 4 })).toThrow(/5 x 4 pixels.*does not resize: resize it to 4 x 4 first/)
  })

  test('a target that is too small', () => {
    expect(() => preprocess(noise(1, 1, 1), plain, new Float32Array(1), 1)).toThrow(/too few for 1 from 1 on/)
  })

  test('a strip that would become millions of pixels long', () => {
    const p: Preprocessing = { ...plain, resize: { mode: 'shortest', edge: 256 }, crop: { height: 1, width: 1 } }
    expect(() => run(noise(1, 1000, 1), p)).toThrow(/1 x 1000, is too long/)
  })

  test('a recipe that makes no sense, naming the field', () => {
    const refuse = (change: Record<string, unknown>, message: RegExp): void =>
      expect(() => checkPreprocessing({ ...plain, ...change }, 'model.fewbit')).toThrow(message)
    expect(checkPreprocessing(plain)).toBe(plain)
    refuse({ gamma: 2.2 }, /model.fewbit has a field "gamma" that this version does not know/)
    refuse({ resize: { mode: 'exact', height: 1, width: 1, edge: 5 } }, /resize has a field "edge" that this version does not know/)
    refuse({ crop: { height: 1, width: 1, from: 'top' } }, /crop has a field "from" that this version does not know/)
    refuse({ channels: 2 }, /model\.fewbit: channels must be 1 or 3, not 2/)
    refuse({ height: -1 }, /height must be an integer from 1 to 8192, not -1/)
    refuse({ resample: 'cubic' }, /resample must be one of nearest, .* not "cubic"/)
    refuse({ std: [0] }, /std must be 1 positive numbers/)
    refuse({ mean: [0, 0, 0] }, /mean must be 1 finite numbers/)
    refuse({ rescale: 'x' }, /rescale must be a finite number/)
    refuse({ resize: { mode: 'fit' } }, /resize must be null/)
    refuse({ resize: undefined }, /resize must be null/)
    refuse({ resize: { mode: 'shortest', edge: 4 } }, /crop must be given/)
    refuse({ resize: { mode: 'exact', height: 4, width: 4 } }, /height and width must be those of resize \(4 x 4\), not \[1,1\]/)
    refuse({ crop: { height: 0, width: 4 } }, /crop must be null/)
    expect(() => checkPreprocessing(null)).toThrow(/must be an object/)
  })
})

test('timm defaults are its own', () => {
  const p = preprocessingFromTimm({ input_size: [3, 224, 224] })
  expect(p.resize).toEqual({ mode: 'shortest', edge: 256 })
  expect([p.resample, p.mean, p.std]).toEqual(['bicubic', [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
})

/** An empty object where the reference data is absent: the tests that use it are skipped then, but their table is read all the same. */
function existing(path: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return { processors: {} }
  }
}
