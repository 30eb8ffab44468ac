import { isObject, show } from '../values.js'
import { parseJsonObject } from './json.js'

/**
 * The header of a safetensors file: 8 bytes of length (little endian), then JSON that says where each tensor lies in the data behind it.
 */

/** Bytes of an element. */
export const ELEMENT_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
  C64: 8,
} as const

export type Dtype = keyof typeof ELEMENT_BYTES

export interface TensorInfo {
  dtype: Dtype
  shape: number[]
  /** Bytes of the file, from `begin` up to but not including `end`. */
  begin: number
  end: number
}

export interface Header {
  tensors: Map<string, TensorInfo>
  metadata: Record<string, string>
}

export const LENGTH_BYTES = 8

/** The format allows 100 MB; headers of image models have at most a few hundred kilobytes, containers a few megabytes. */
const LARGEST_HEADER = 1 << 24

const MOST_DIMENSIONS = 16

/**
 * @param prefix the first 8 bytes (or fewer, of a shorter file)
 * @returns bytes of the JSON
 * @throws Error when the length cannot be that of a header
 */
export function headerLength(prefix: Uint8Array, fileBytes: number, what: string): number {
  if (prefix.length < LENGTH_BYTES) throw new Error(`${what} is not a safetensors file: it has only ${fileBytes} bytes`)
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true)
  if (length > LARGEST_HEADER) {
    throw new Error(`${what} is not a safetensors file: its header would have ${length} bytes, at most ${LARGEST_HEADER} are allowed`)
  }
  if (Number(length) > fileBytes - LENGTH_BYTES) {
    throw new Error(`${what} is not a safetensors file, or cut off: its header would have ${length} bytes, the file has ${fileBytes}`)
  }
  return Number(length)
}

/**
 * Everything that the format demands: known types, sizes that fit, data covered completely and without overlap.
 *
 * @throws Error that names the tensor at fault
 */
export function parseHeader(json: Uint8Array, fileBytes: number, what: string): Header {
  if (json[0] !== 0x7b) throw new Error(`${what} is not a safetensors file: its header does not start with {`)
  const dataStart = LENGTH_BYTES + json.length
  const header = parseJsonObject(json, `the header of ${what}`)
  const { __metadata__: metadata = {} } = header
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === 'string')) {
    throw new Error(`the metadata of ${what} are not strings by name`)
  }
  const tensors = new Map<string, TensorInfo>()
  // Not the rest of a destructured header: a copy of hundreds of keys takes milliseconds.
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue
    try {
      tensors.set(name, parseTensor(entry, dataStart, fileBytes))
    } catch (cause) {
      throw new Error(`${what}: tensor ${show(name)} ${(cause as Error).message}`, { cause })
    }
  }
  checkCoverage(tensors, dataStart, fileBytes, what)
  return { tensors, metadata: metadata as Record<string, string> }
}

/** @throws Error that goes on where the tensor was named, which is done for those at fault only */
function parseTensor(entry: unknown, dataStart: number, fileBytes: number): TensorInfo {
  if (!isObject(entry)) throw new Error('is not described by an object')
  const { dtype, shape, data_offsets: offsets } = entry
  if (typeof dtype !== 'string' || !Object.hasOwn(ELEMENT_BYTES, dtype)) {
    throw new Error(`has the unknown type ${show(dtype)}`)
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw new Error(`has the shape ${show(shape)}, expected integers from 0 on`)
  }
  if (shape.length > MOST_DIMENSIONS) throw new Error(`has ${shape.length} dimensions, at most ${MOST_DIMENSIONS} are allowed`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0] > offsets[1]) {
    throw new Error(`has the offsets ${show(offsets)}, expected [begin, end]`)
  }
  const [begin, end] = offsets as [number, number]
  if (end > fileBytes - dataStart) {
    throw new Error(`ends at byte ${end} of the data, the file has only ${fileBytes - dataStart}: it was cut off`)
  }
  let bytes: number = ELEMENT_BYTES[dtype as Dtype]
  for (const size of shape) {
    bytes *= size
    if (!Number.isSafeInteger(bytes)) throw new Error(`has the shape [${shape.join(', ')}], which is too large`)
  }
  if (bytes !== end - begin) {
    throw new Error(`takes ${end - begin} bytes, but ${dtype} of shape [${shape.join(', ')}] are ${bytes}`)
  }
  return { dtype: dtype as Dtype, shape, begin: dataStart + begin, end: dataStart + end }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function checkCoverage(tensors: Map<string, TensorInfo>, dataStart: number, fileBytes: number, what: string): void {
  const sorted = [...tensors].sort((a, b) => a[1].begin - b[1].begin || a[1].end - b[1].end)
  let covered = dataStart
  for (const [name, { begin, end }] of sorted) {
    if (begin < covered) throw new Error(`${what}: tensor ${show(name)} overlaps another`)
    if (begin > covered) throw new Error(`${what}: ${begin - covered} bytes before tensor ${show(name)} belong to no tensor`)
    covered = end
  }
  if (covered !== fileBytes) throw new Error(`${what}: the last ${fileBytes - covered} bytes belong to no tensor`)
}
