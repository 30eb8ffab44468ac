import type { FileHandle } from 'node:fs/promises'
import { replaceFile } from './replace-file.js'
import { type Dtype, ELEMENT_BYTES, LENGTH_BYTES } from './safetensors-header.js'

/**
 * Writing safetensors files.
 */

export interface TensorToWrite {
  name: string
  dtype: Dtype
  shape: number[]
  /** Little-endian elements. */
  data: ArrayBufferView
}

/** The data start on such a boundary, and every tensor whose size is a multiple of it does, too. */
const ALIGNMENT = 64
const WRITE_BYTES = 1 << 24

/**
 * Writes the file completely or not at all, see {@link replaceFile}. The same tensors give the same bytes in any order.
 *
 * @returns the bytes of the file
 * @throws Error when anything fails; `path` is as it was
 */
export async function writeSafetensors(path: string, tensors: TensorToWrite[], metadata: Record<string, string> = {}): Promise<number> {
  const ordered = [...tensors].sort(compare)
  const header = encodeHeader(ordered, metadata)
  return replaceFile(path, async (handle) => {
    let bytes = await writeAll(handle, header)
    for (const { data } of ordered) {
      bytes += await writeAll(handle, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    }
    return bytes
  })
}

/** The bytes of the file that {@link writeSafetensors} would write. */
export function safetensorsBytes(tensors: TensorToWrite[], metadata: Record<string, string> = {}): number {
  return tensors.reduce((bytes, { data }) => bytes + data.byteLength, encodeHeader([...tensors].sort(compare), metadata).length)
}

/**
 * Tensors that can be aligned come first, then the widest elements, so that every tensor is aligned to its element. Among the aligned ones
 * the widest are first, too: nearly all floats of a .fewbit file, which loading reads, lie together in front of codes, of which it reads the padding.
 */
function compare(a: TensorToWrite, b: TensorToWrite): number {
  const rank = ({ data, dtype }: TensorToWrite) => (data.byteLength % ALIGNMENT === 0 ? -ALIGNMENT : 0) - ELEMENT_BYTES[dtype]
  return rank(a) - rank(b) || (a.name < b.name ? -1 : 1)
}

function encodeHeader(tensors: TensorToWrite[], metadata: Record<string, string>): Uint8Array {
  const entries: [string, unknown][] = [['__metadata__', metadata]]
  const names = new Set(['__metadata__'])
  let offset = 0
  for (const { name, dtype, shape, data } of tensors) {
    if (names.has(name)) throw new Error(`two tensors are called ${name}`)
    names.add(name)
    const bytes = shape.reduce((a, b) => a * b, ELEMENT_BYTES[dtype])
    if (bytes !== data.byteLength) throw new Error(`tensor ${name} has ${data.byteLength} bytes, its shape asks for ${bytes}`)
    entries.push([name, { dtype, shape, data_offsets: [offset, offset + bytes] }])
    offset += bytes
  }
  // Not an object: names that look like numbers would lose their place, and __proto__ its meaning.
  const json = new TextEncoder().encode(`{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join()}}`)
  const length = Math.ceil((LENGTH_BYTES + json.length) / ALIGNMENT) * ALIGNMENT - LENGTH_BYTES
  const header = new Uint8Array(LENGTH_BYTES + length).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true)
  header.set(json, LENGTH_BYTES)
  return header
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<number> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, Math.min(bytes.length - done, WRITE_BYTES))
    done += bytesWritten
  }
  return bytes.length
}
