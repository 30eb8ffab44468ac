/** Encoded files -> pixels, through sharp (optional: whoever hands in pixels does not need it). */
import type Sharp from 'sharp'
import { checkRawImage, type ImageInput, isBytes, type RawImage, type Reserve } from './image.js'
import { readWhole } from './read-file.js'

/** Of a photograph; 400 MB in colour. */
const MOST_PIXELS = 2 ** 27

/** What sharp calls the formats that are read. AVIF is the one of the HEIF family that it decodes. */
const FORMATS = ['jpeg', 'png', 'webp', 'gif', 'tiff', 'heif', 'avif']

let loading: Promise<typeof Sharp> | undefined

/**
 * Pixels of an image, upright (EXIF orientation applied). Encoded files come out with three channels, as Pillow's convert('RGB') makes
 * them: grey is repeated, alpha is dropped and not blended, 16 bits lose the lower eight, embedded colour profiles are ignored. Only CMYK
 * goes through colour management (its own profile or a common one), where Pillow's formula gives brighter colours. Of several frames, the
 * first.
 *
 * @param name what to call the image in messages; default: its path
 * @param reserve awaited before encoded pixels are decoded
 * @returns raw pixels are checked and returned as they are
 * @throws Error naming the image when it cannot be read, is no image, is damaged or cut off, or has more than 134 million pixels
 */
export async function decodeImage(input: ImageInput, name?: string, reserve?: Reserve): Promise<RawImage> {
  if (typeof input === 'string') return decodeFile(input, name ?? input, reserve)
  if (isBytes(input)) return decodeBytes(input, name ?? 'the image', reserve)
  checkRawImage(input, name)
  return input
}

async function decodeFile(path: string, name: string, reserve?: Reserve): Promise<RawImage> {
  let bytes: Uint8Array
  try {
    bytes = await readWhole(path)
  } catch (error) {
    throw new Error(`cannot read ${name}: ${message(error)}`, { cause: error })
  }
  return decodeBytes(bytes, name, reserve)
}

async function decodeBytes(bytes: Uint8Array, name: string, reserve?: Reserve): Promise<RawImage> {
  if (bytes.byteLength === 0) throw new Error(`${name} is empty (0 bytes)`)
  const sharp = await loadSharp(name)
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    const limits = { limitInputPixels: MOST_PIXELS, failOn: 'warning' } as const
    const { format, space, width, height } = await sharp(buffer, limits).metadata()
    if (!FORMATS.includes(format)) throw new Error(`unsupported image format ${format}`)
    await reserve?.(width * height)
    const { data, info } = await sharp(buffer, { ...limits, autoOrient: true, ignoreIcc: space !== 'cmyk' })
      .toColourspace('srgb')
      .removeAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    return { data, width: info.width, height: info.height, channels: info.channels as 1 | 3 }
  } catch (error) {
    throw new Error(`cannot decode ${name}: ${explain(message(error))}`, { cause: error })
  }
}

/** sharp's messages in the words of someone who has a file before them. */
function explain(text: string): string {
  if (/unsupported image format/i.test(text)) return 'not an image in a format that is read (JPEG, PNG, WebP, GIF, TIFF, AVIF)'
  if (/exceeds pixel limit/i.test(text)) return 'it has more than 134 million pixels; scale it down first'
  return `the file is damaged or incomplete (${text.trim().split('\n')[0]})`
}

function message(error: unknown): string {
  return error !== null && typeof error === 'object' && 'message' in error ? String(error.message) : String(error)
}

async function loadSharp(name: string): Promise<typeof Sharp> {
  loading ??= import('sharp').then((module) => module.default)
  try {
    return await loading
  } catch (error) {
    loading = undefined
    throw new Error(
      `decoding ${name} needs the package sharp, which did not load (${message(error).split('\n')[0]}). Run 'npm install sharp', ` +
        'or decode elsewhere and pass pixels: { data, width, height, channels }',
      { cause: error },
    )
  }
}
