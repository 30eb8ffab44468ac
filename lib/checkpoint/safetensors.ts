import { open, stat } from 'node:fs/promises'
import type { Tensor } from '../graph/graph.js'
import { createBlob, mapFile, type NativeBlob, sliceBlob } from '../runtime/blobs.js'
import { findNonFinite, fromBfloat16, fromFloat16 } from './floats.js'
import { headerLength, LENGTH_BYTES, parseHeader, type TensorInfo } from './safetensors-header.js'

/**
 * Reading tensors lazily: from one safetensors file, from bytes in memory, or (sharded.ts) from several files.
 */

export interface TensorSource {
  /** For messages. */
  readonly what: string
  names(): string[]
  info(name: string): TensorInfo | undefined
  /**
   * F32, F16 and BF16 as float32, all finite.
   *
   * @throws Error that names the tensor when it is missing, of another type, or holds an infinity or NaN
   */
  tensor(name: string): Promise<Tensor>
  /** The bytes of a tensor of any type, in memory of their own. */
  raw(name: string): Promise<Uint8Array<ArrayBuffer>>
  close(): Promise<void>
}

export interface SafetensorsFile extends TensorSource {
  readonly metadata: Record<string, string>
  /** From now on bytes are read in place where the file can be mapped: it is what it is as long as they are used. */
  map(): void
  /** The bytes of a tensor in native memory: a part of the file after {@link map}, where that is possible, else a copy. */
  blob(name: string): Promise<NativeBlob>
  /** What {@link tensor} gives, of many: read at once where they lie together, as all that is no code does in a container. */
  readTensors(names: string[]): Promise<Map<string, Tensor>>
}

/** Bytes that can be read anywhere. */
interface Bytes {
  length: number
  /** Exactly `target.length` bytes; throws when the file ends before. */
  read(target: Uint8Array, position: number): Promise<void>
  /** All of them, in place; null where that cannot be. */
  map(): NativeBlob | null
  close(): Promise<void>
}

/** Reads stay below the 2 GiB that one call can give. */
const LARGEST_READ = 1 << 30

/**
 * Reads and checks the header; tensors are read when they are asked for. Close it, or its file stays open.
 *
 * @throws Error that says what is wrong with the file
 */
export async function openSafetensors(source: string | Uint8Array, what = nameOf(source)): Promise<SafetensorsFile> {
  const bytes = typeof source === 'string' ? await openFile(source) : memory(source)
  try {
    const prefix = new Uint8Array(Math.min(LENGTH_BYTES, bytes.length))
    await bytes.read(prefix, 0)
    const json = new Uint8Array(headerLength(prefix, bytes.length, what))
    await bytes.read(json, LENGTH_BYTES)
    const { tensors, metadata } = parseHeader(json, bytes.length, what)
    return new Reader(what, bytes, tensors, metadata)
  } catch (error) {
    await bytes.close()
    throw error
  }
}

class Reader implements SafetensorsFile {
  private mapped: NativeBlob | null = null

  constructor(
    readonly what: string,
    private readonly bytes: Bytes,
    private readonly tensors: Map<string, TensorInfo>,
    readonly metadata: Record<string, string>,
  ) {}

  names(): string[] {
    return [...this.tensors.keys()]
  }

  info(name: string): TensorInfo | undefined {
    return this.tensors.get(name)
  }

  async tensor(name: string): Promise<Tensor> {
    const { dtype, shape } = this.require(name)
    if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
      throw new Error(`${this.what}: tensor ${name} is ${dtype}, expected F32, F16 or BF16`)
    }
    const { buffer } = await this.raw(name)
    const data =
      dtype === 'F32'
        ? new Float32Array(buffer)
        : dtype === 'F16'
          ? await fromFloat16(new Uint16Array(buffer))
          : await fromBfloat16(new Uint16Array(buffer))
    return this.finite(name, shape, data)
  }

  async readTensors(names: string[]): Promise<Map<string, Tensor>> {
    const tensors = new Map<string, Tensor>()
    for (const run of runs(names.map((name) => ({ name, ...this.require(name) })))) {
      const { begin } = run[0]
      const { buffer } = await this.read(begin, run[run.length - 1].end)
      for (const info of run) {
        const data = new Float32Array(buffer, info.begin - begin, (info.end - info.begin) / 4)
        tensors.set(info.name, this.finite(info.name, info.shape, data))
      }
    }
    for (const name of names) if (!tensors.has(name)) tensors.set(name, await this.tensor(name))
    return tensors
  }

  async raw(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const { begin, end } = this.require(name)
    return this.read(begin, end)
  }

  map(): void {
    const mapped = this.bytes.map()
    // Another length: the file was changed since its header was read.
    if (mapped?.byteLength === this.bytes.length) this.mapped = mapped
  }

  async blob(name: string): Promise<NativeBlob> {
    const { begin, end } = this.require(name)
    return this.mapped ? sliceBlob(this.mapped, begin, end - begin) : createBlob(await this.raw(name))
  }

  close(): Promise<void> {
    return this.bytes.close()
  }

  private async read(begin: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
    const target = new Uint8Array(end - begin)
    if (this.mapped) this.mapped.read(begin, target)
    else await this.bytes.read(target, begin)
    return target
  }

  private finite(name: string, shape: number[], data: Float32Array): Tensor {
    const bad = findNonFinite(data)
    if (bad >= 0) throw new Error(`${this.what}: tensor ${name} holds ${data[bad]} at element ${bad}`)
    return { shape: [...shape], data }
  }

  private require(name: string): TensorInfo {
    const info = this.tensors.get(name)
    if (!info) throw new Error(`${this.what}: there is no tensor ${name}`)
    return info
  }
}

interface NamedInfo extends TensorInfo {
  name: string
}

/** Bytes that are read at once: what keeps one tensor keeps them all. */
const LONGEST_RUN = 1 << 26

/** Those that are float32, in the order of the file, and those together that lie together. */
function runs(infos: NamedInfo[]): NamedInfo[][] {
  const found: NamedInfo[][] = []
  let end = -1
  for (const info of infos.filter(({ dtype }) => dtype === 'F32').sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    const run = found[found.length - 1]
    if (info.begin === end && info.end - run[0].begin <= LONGEST_RUN) run.push(info)
    else found.push([info])
    end = info.end
  }
  return found
}

async function openFile(path: string): Promise<Bytes> {
  // Before it is opened, which waits for ever when it is a pipe that nobody writes to.
  if (!(await stat(path)).isFile()) throw new Error(`${path} is not a file`)
  const handle = await open(path, 'r')
  try {
    return {
      length: (await handle.stat()).size,
      async read(target, position) {
        for (let done = 0; done < target.length; ) {
          const length = Math.min(target.length - done, LARGEST_READ)
          const { bytesRead } = await handle.read(target, done, length, position + done)
          if (bytesRead === 0) throw new Error(`${path} ended while it was read`)
          done += bytesRead
        }
      },
      map: () => mapFile(handle.fd),
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

function memory(bytes: Uint8Array): Bytes {
  return {
    length: bytes.length,
    read: async (target, position) => target.set(bytes.subarray(position, position + target.length)),
    map: () => null,
    close: async () => {},
  }
}

const nameOf = (source: string | Uint8Array): string => (typeof source === 'string' ? source : `a buffer of ${source.length} bytes`)
