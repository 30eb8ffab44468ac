/** Images as pixels, and what callers may hand in instead. */

/** Unsigned bytes 0..255, rows from the top, channels interleaved: data[(y * width + x) * channels + c]. */
export interface RawImage {
  data: Uint8Array | Uint8ClampedArray
  /** 1..65535 pixels. */
  width: number
  height: number
  /** 1: grey, 3: red, green, blue. */
  channels: 1 | 3
}

/** A path, the bytes of an encoded file (JPEG, PNG, WebP, GIF, TIFF, AVIF), or pixels. */
export type ImageInput = string | Uint8Array | RawImage

/** Resolves when there is memory for an image of so many pixels. */
export type Reserve = (pixels: number) => Promise<void>

const MAX_SIDE = 65535

/** True for the bytes of a file. No instanceof: jest and Electron hand over arrays of another realm. */
export function isBytes(input: unknown): input is Uint8Array {
  return ArrayBuffer.isView(input) && /Uint8(Clamped)?Array/.test(Object.prototype.toString.call(input))
}

/**
 * Refuses what is not a whole image.
 *
 * @param name what to call the image in the message
 * @throws TypeError for a wrong type, RangeError for a wrong size
 */
export function checkRawImage(image: RawImage, name = 'the image'): void {
  if (typeof image !== 'object' || image === null) {
    throw new TypeError(`${name} is ${image === null ? 'null' : typeof image}: pass a path, the bytes of a file, or pixels`)
  }
  const { data, width, height, channels } = image
  if (!isBytes(data)) throw new TypeError(`${name}: data must be a Uint8Array of pixels (0..255)`)
  for (const [side, value] of Object.entries({ width, height })) {
    if (!Number.isInteger(value) || value < 1 || value > MAX_SIDE) {
      throw new RangeError(`${name}: ${side} must be an integer from 1 to ${MAX_SIDE}, not ${value}`)
    }
  }
  if (channels !== 1 && channels !== 3) {
    throw new RangeError(`${name}: channels must be 1 (grey) or 3 (red, green, blue), not ${channels}; drop an alpha channel first`)
  }
  const expected = width * height * channels
  if (data.length !== expected) {
    throw new RangeError(`${name}: ${width} x ${height} pixels of ${channels} channels are ${expected} bytes, but data has ${data.length}`)
  }
}

/**
 * Grey of rows [first, last): Pillow's convert('L'), luma of ITU-R 601 in 16-bit fixed point, rounded to nearest.
 *
 * @param grey width * height bytes
 */
export function greyRows(image: RawImage, grey: Uint8Array, first: number, last: number): void {
  const { data, width } = image
  for (let i = first * width, j = 3 * i; i < last * width; i++, j += 3) {
    grey[i] = (data[j] * 19595 + data[j + 1] * 38470 + data[j + 2] * 7471 + 0x8000) >> 16
  }
}

/** The three equal channels of a grey image, rows [first, last). */
export function colourRows(image: RawImage, colour: Uint8Array, first: number, last: number): void {
  const { data, width } = image
  for (let i = first * width, j = 3 * i; i < last * width; i++, j += 3) {
    colour[j] = colour[j + 1] = colour[j + 2] = data[i]
  }
}

/**
 * The image in grey or in colour, as Pillow's convert('L') and convert('RGB'). Steps of about a millisecond: see `finish`.
 *
 * @returns the image itself when it already has that many channels
 */
export function* channelSteps(image: RawImage, channels: 1 | 3): Generator<void, RawImage> {
  if (image.channels === channels) return image
  const { width, height } = image
  const data = new Uint8Array(width * height * channels)
  const convert = channels === 1 ? greyRows : colourRows
  const rows = Math.max(1, Math.floor(2 ** 18 / width))
  for (let y = 0; y < height; y += rows) {
    convert(image, data, y, Math.min(height, y + rows))
    yield
  }
  return { data, width, height, channels }
}
