import { dirname, join } from 'node:path'
import type { Tensor } from '../graph/graph.js'
import { isObject, show } from '../values.js'
import { readJsonFile } from './config.js'
import { openSafetensors, type SafetensorsFile, type TensorSource } from './safetensors.js'
import type { TensorInfo } from './safetensors-header.js'

/**
 * A checkpoint in several files: model.safetensors.index.json says which tensor is in which.
 *
 * @throws Error that names the shard or tensor which is missing
 */
export async function openSharded(indexPath: string): Promise<TensorSource> {
  const map = (await readJsonFile(indexPath))?.weight_map
  if (!isObject(map)) throw new Error(`${indexPath} has no weight_map`)
  const shardOf = new Map<string, string>()
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !/^[^/\\:]+\.safetensors$/.test(shard)) {
      throw new Error(`${indexPath}: ${show(shard)} is not the name of a safetensors file in the same folder`)
    }
    shardOf.set(tensor, shard)
  }
  const files = new Map<string, SafetensorsFile>()
  const close = async () => {
    await Promise.all([...files.values()].map((file) => file.close()))
  }
  try {
    for (const shard of new Set(shardOf.values())) files.set(shard, await openShard(join(dirname(indexPath), shard), indexPath))
    for (const [tensor, shard] of shardOf) {
      if (!files.get(shard)?.info(tensor)) throw new Error(`${indexPath} says that ${shard} holds tensor ${tensor}, but it does not`)
    }
  } catch (error) {
    await close()
    throw error
  }
  return new Shards(indexPath, shardOf, files, close)
}

async function openShard(path: string, indexPath: string): Promise<SafetensorsFile> {
  try {
    return await openSafetensors(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new Error(`${path} is missing, but ${indexPath} lists it: download all shards`, { cause: error })
  }
}

class Shards implements TensorSource {
  constructor(
    readonly what: string,
    private readonly shardOf: Map<string, string>,
    private readonly files: Map<string, SafetensorsFile>,
    readonly close: () => Promise<void>,
  ) {}

  names(): string[] {
    return [...this.shardOf.keys()]
  }

  info(name: string): TensorInfo | undefined {
    return this.fileOf(name)?.info(name)
  }

  async tensor(name: string): Promise<Tensor> {
    return this.require(name).tensor(name)
  }

  async raw(name: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.require(name).raw(name)
  }

  private fileOf(name: string): SafetensorsFile | undefined {
    return this.files.get(this.shardOf.get(name) ?? '')
  }

  private require(name: string): SafetensorsFile {
    const file = this.fileOf(name)
    if (!file) throw new Error(`${this.what}: there is no tensor ${name}`)
    return file
  }
}
