import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, deflateSync } from 'node:zlib'
import sharp, { type Sharp } from 'sharp'
import { decodeImage } from '../../lib/images/decode.js'
import { channelSteps, checkRawImage, type RawImage } from '../../lib/images/image.js'
import { finish } from '../../lib/images/steps.js'
import { gradient, hash, noise } from './pixels.js'

function encode({ data, width, height, channels }: RawImage): Sharp {
  return sharp(Buffer.from(data), { raw: { width, height, channels } })
}

/** A PNG of chosen bytes; colour types as in its specification: 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA. */
function png(width: number, height: number, depth: number, colour: number, rows: number[][], extra: [string, number[]][] = []): Buffer {
  const chunk = (type: string, body: Uint8Array): Buffer => {
    const out = Buffer.alloc(12 + body.length)
    out.writeUInt32BE(body.length, 0)
    out.write(type, 4, 'latin1')
    out.set(body, 8)
    out.writeUInt32BE(crc32(out.subarray(4, 8 + body.length)), 8 + body.length)
    return out
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([depth, colour, 0, 0, 0], 8)
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    ...extra.map(([type, body]) => chunk(type, Uint8Array.from(body))),
    chunk('IDAT', deflateSync(Uint8Array.from(rows.flatMap((row) => [0, ...row])))),
    chunk('IEND', new Uint8Array(0)),
  ])
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fewbit-decode-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('what comes out', () => {
  test('a PNG gives its own pixels, from a path and from bytes', async () => {
    const image = noise(13, 7, 3)
    const bytes = await encode(image).png().toBuffer()
    const file = join(folder, 'noise.png')
    await writeFile(file, bytes)
    for (const input of [file, bytes, new Uint8Array(bytes)]) {
      const found = await decodeImage(input)
      expect([found.width, found.height, found.channels]).toEqual([13, 7, 3])
      expect([...found.data]).toEqual([...image.data])
    }
  })

  test('bytes in the middle of a larger buffer', async () => {
    const bytes = await encode(noise(4, 4, 3))
      .png()
      .toBuffer()
    const larger = new Uint8Array(bytes.length + 20)
    larger.set(bytes, 10)
    const found = await decodeImage(larger.subarray(10, 10 + bytes.length))
    expect([...found.data]).toEqual([...noise(4, 4, 3).data])
  })

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('EXIF orientation %i comes out upright', async (orientation) => {
    // Where the upright pixel (x, y) lies in the stored rows, by the table of the EXIF standard.
    const width = 48
    const height = 32
    const upright = gradient(width, height)
    const turned = orientation >= 5
    const [storedWidth, storedHeight] = turned ? [height, width] : [width, height]
    const stored = new Uint8Array(upright.data.length)
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const right = width - 1 - x
        const up = height - 1 - y
        const [column, row] = [
          [x, y],
          [right, y],
          [right, up],
          [x, up],
          [y, x],
          [y, right],
          [up, right],
          [up, x],
        ][orientation - 1]
        for (let c = 0; c < 3; c++) stored[(row * storedWidth + column) * 3 + c] = upright.data[(y * width + x) * 3 + c]
      }
    }
    const file = await encode({ data: stored, width: storedWidth, height: storedHeight, channels: 3 })
      .jpeg({ quality: 100, chromaSubsampling: '4:4:4' })
      .withMetadata({ orientation })
      .toBuffer()
    expect((await sharp(file).metadata()).orientation).toBe(orientation)
    const found = await decodeImage(file)
    expect([found.width, found.height]).toEqual([width, height])
    const worst = [...upright.data].reduce((most, value, i) => Math.max(most, Math.abs(value - found.data[i])), 0)
    expect(worst).toBeLessThanOrEqual(4)
  })

  test('grey is repeated', async () => {
    const found = await decodeImage(png(3, 1, 8, 0, [[0, 100, 255]]))
    expect(found.channels).toBe(3)
    expect([...found.data]).toEqual([0, 0, 0, 100, 100, 100, 255, 255, 255])
  })

  test('alpha is dropped, not blended', async () => {
    const colour = png(2, 1, 8, 6, [[200, 100, 50, 0, 10, 20, 30, 128]])
    expect([...(await decodeImage(colour)).data]).toEqual([200, 100, 50, 10, 20, 30])
    const grey = png(2, 1, 8, 4, [[90, 0, 200, 128]])
    expect([...(await decodeImage(grey)).data]).toEqual([90, 90, 90, 200, 200, 200])
  })

  test('16 bits lose the lower eight', async () => {
    const colour = png(2, 1, 16, 2, [[0x12, 0xff, 0x80, 0x00, 0xff, 0xff, 0x00, 0x7f, 0x01, 0x00, 0xc0, 0x40]])
    expect([...(await decodeImage(colour)).data]).toEqual([0x12, 0x80, 0xff, 0x00, 0x01, 0xc0])
    const grey = png(2, 1, 16, 0, [[0x34, 0xff, 0xfe, 0x01]])
    expect([...(await decodeImage(grey)).data]).toEqual([0x34, 0x34, 0x34, 0xfe, 0xfe, 0xfe])
  })

  test('a palette, with and without transparency, and single bits', async () => {
    const palette: [string, number[]] = ['PLTE', [255, 0, 0, 0, 255, 0, 1, 2, 3]]
    expect([...(await decodeImage(png(3, 1, 8, 3, [[2, 0, 1]], [palette]))).data]).toEqual([1, 2, 3, 255, 0, 0, 0, 255, 0])
    const clear = png(3, 1, 8, 3, [[2, 0, 1]], [palette, ['tRNS', [0, 128, 255]]])
    expect([...(await decodeImage(clear)).data]).toEqual([1, 2, 3, 255, 0, 0, 0, 255, 0])
    expect([...(await decodeImage(png(4, 1, 1, 0, [[0b10100000]]))).data]).toEqual([255, 255, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0])
  })

  test('CMYK becomes RGB of about the right colours', async () => {
    for (const [name, rgb] of Object.entries({ red: [200, 30, 40], green: [40, 150, 60], white: [255, 255, 255], grey: [128, 128, 128] })) {
      const image: RawImage = { data: new Uint8Array(16 * 16 * 3).map((_, i) => rgb[i % 3]), width: 16, height: 16, channels: 3 }
      const file = await encode(image).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer()
      expect([name, (await sharp(file).metadata()).space]).toEqual([name, 'cmyk'])
      const found = await decodeImage(file)
      expect(found.channels).toBe(3)
      // Printing inks do not reach every colour of a screen.
      rgb.forEach((value, c) => expect(Math.abs(found.data[c] - value)).toBeLessThanOrEqual(35))
    }
  })

  test('an embedded colour profile is ignored, as Pillow ignores it', async () => {
    const image: RawImage = { data: new Uint8Array(8 * 8 * 3).map((_, i) => [200, 30, 40][i % 3]), width: 8, height: 8, channels: 3 }
    const file = await encode(image).withIccProfile('p3').png().toBuffer()
    expect((await sharp(file).metadata()).icc).toBeDefined()
    const stored = await sharp(file, { ignoreIcc: true }).raw().toBuffer()
    expect(stored[0]).not.toBe(200)
    expect([...(await decodeImage(file)).data]).toEqual([...stored])
  })

  test('of an animation, the first frame; WebP, GIF, TIFF and AVIF are read', async () => {
    const flat: RawImage = {
      data: new Uint8Array(16 * 32 * 3).map((_, i) => (i < 16 * 16 * 3 ? 255 : 0)),
      width: 16,
      height: 32,
      channels: 3,
    }
    const animated = await sharp(Buffer.from(flat.data), { raw: { width: 16, height: 32, channels: 3, pageHeight: 16 } })
      .gif()
      .toBuffer()
    const first = await decodeImage(animated)
    expect([first.width, first.height, first.data.every((value) => value === 255)]).toEqual([16, 16, true])
    for (const format of ['webp', 'tiff', 'avif'] as const) {
      const found = await decodeImage(await encode(gradient(16, 16)).toFormat(format, { quality: 100 }).toBuffer())
      expect([found.width, found.height, found.channels]).toEqual([16, 16, 3])
    }
  })

  test('pixels pass through', async () => {
    const image = noise(5, 4, 1)
    expect(await decodeImage(image)).toBe(image)
  })
})

describe('what is refused', () => {
  test('a file that is not there, with its name', async () => {
    await expect(decodeImage(join(folder, 'none.jpg'))).rejects.toThrow(/cannot read .*none\.jpg: ENOENT/)
  })

  test('an empty file', async () => {
    const file = join(folder, 'empty.jpg')
    await writeFile(file, '')
    await expect(decodeImage(file)).rejects.toThrow(/empty\.jpg is empty \(0 bytes\)/)
  })

  test('a device, which may never end, a folder, and a file that is too large for an image', async () => {
    await expect(decodeImage('/dev/null')).rejects.toThrow('cannot read /dev/null: it is not a regular file')
    await expect(decodeImage(folder)).rejects.toThrow(/^cannot read .*: it is a folder$/)
    const file = join(folder, 'large.tif')
    await writeFile(file, '')
    await truncate(file, 2 ** 30 + 1)
    await expect(decodeImage(file)).rejects.toThrow(/^cannot read .*large\.tif: it has 1073741825 bytes/)
  })

  test('a file that is no image', async () => {
    const file = join(folder, 'text.jpg')
    await writeFile(file, 'These are not the bytes you are looking for.')
    await expect(decodeImage(file)).rejects.toThrow(/cannot decode .*text\.jpg: not an image in a format/)
  })

  test.each(['jpeg', 'png', 'webp'] as const)('a %s cut off in the middle', async (format) => {
    const whole = await encode(noise(64, 64, 3))
      .toFormat(format)
      .toBuffer()
    const file = join(folder, `cut.${format}`)
    await writeFile(file, whole.subarray(0, whole.length / 2))
    await expect(decodeImage(file)).rejects.toThrow(new RegExp(`cannot decode .*cut\\.${format}: the file is damaged or incomplete`))
  })

  test('a PNG with damaged data', async () => {
    const bytes = await encode(noise(64, 64, 3))
      .png()
      .toBuffer()
    bytes.fill(0x55, 1000, 2000)
    await expect(decodeImage(bytes, 'damaged.png')).rejects.toThrow(/cannot decode damaged\.png/)
  })

  test('a JPEG with damaged data, which decoders go on with', async () => {
    const bytes = await encode(noise(64, 64, 3))
      .jpeg()
      .toBuffer()
    bytes.fill(0x55, 1000, 1200)
    expect((await sharp(bytes, { failOn: 'error' }).raw().toBuffer()).length).toBe(64 * 64 * 3)
    await expect(decodeImage(bytes, 'damaged.jpg')).rejects.toThrow(/cannot decode damaged\.jpg: the file is damaged or incomplete/)
  })

  test('a drawing, though sharp would read it', async () => {
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><rect width="4" height="4"/></svg>')
    expect((await sharp(svg).metadata()).format).toBe('svg')
    await expect(decodeImage(svg, 'drawing.jpg')).rejects.toThrow(/cannot decode drawing\.jpg: not an image in a format that is read/)
  })

  test('more pixels than memory should hold', async () => {
    await expect(decodeImage(png(30000, 30000, 8, 0, [[0]]), 'bomb.png')).rejects.toThrow(/bomb\.png: it has more than 134 million pixels/)
  })

  test('pixels of another size than they say', async () => {
    const data = new Uint8Array(11)
    await expect(decodeImage({ data, width: 2, height: 2, channels: 3 })).rejects.toThrow(
      /2 x 2 pixels of 3 channels are 12 bytes, but data has 11/,
    )
  })
})

describe('without sharp', () => {
  afterEach(() => jest.dontMock('sharp'))

  test('files are refused with the remedy, pixels are not', async () => {
    const bytes = await encode(noise(4, 4, 3))
      .png()
      .toBuffer()
    await jest.isolateModulesAsync(async () => {
      jest.doMock('sharp', () => {
        throw new Error("Cannot find module 'sharp'")
      })
      const { decodeImage: decode } = await import('../../lib/images/decode.js')
      await expect(decode(bytes, 'cat.png')).rejects.toThrow(
        /cat\.png needs the package sharp.*Cannot find module 'sharp'.*Run 'npm install sharp'.*pass pixels/,
      )
      expect(await decode(noise(4, 4, 3))).toEqual(noise(4, 4, 3))
    })
  })
})

describe('checkRawImage', () => {
  const good: RawImage = { data: new Uint8Array(12), width: 2, height: 2, channels: 3 }

  test('takes clamped arrays and Buffers', () => {
    checkRawImage(good)
    checkRawImage({ ...good, data: new Uint8ClampedArray(12) })
    checkRawImage({ ...good, data: Buffer.alloc(12) })
  })

  test.each([
    [{ width: 0 }, /photo: width must be an integer from 1 to 65535, not 0/],
    [{ height: 2.5 }, /height must be an integer from 1 to 65535, not 2\.5/],
    [{ width: 65536 }, /not 65536/],
    [{ channels: 4 }, /channels must be 1 \(grey\) or 3 .* not 4; drop an alpha channel/],
    [{ data: new Float32Array(12) }, /data must be a Uint8Array/],
    [{ data: new Int8Array(12) }, /data must be a Uint8Array/],
    [{ data: undefined }, /data must be a Uint8Array/],
  ])('refuses %o', (change, message) => {
    expect(() => checkRawImage({ ...good, ...change } as RawImage, 'photo')).toThrow(message)
  })

  test.each([null, undefined, 5])('refuses %s', (value) => {
    expect(() => checkRawImage(value as unknown as RawImage)).toThrow(/pass a path, the bytes of a file, or pixels/)
  })
})

describe('channels', () => {
  test('grey is the luma of ITU-R 601, rounded', () => {
    const image: RawImage = {
      data: Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 10, 20, 30),
      width: 5,
      height: 1,
      channels: 3,
    }
    // 0.299 r + 0.587 g + 0.114 b = 76.245, 149.685, 29.07, 255, 18.15
    expect([...finish(channelSteps(image, 1)).data]).toEqual([76, 150, 29, 255, 18])
  })

  test('grey and back keeps grey', () => {
    const image = noise(300, 1000, 1)
    const colour = finish(channelSteps(image, 3))
    expect(colour.channels).toBe(3)
    expect(hash(finish(channelSteps(colour, 1)))).toBe(hash(image))
    expect(finish(channelSteps(image, 1))).toBe(image)
  })
})
