import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { JsonObject } from '../values.js'
import { labelsOf, readJsonFile } from './config.js'
import { type Container, isContainer, parseContainer } from './container.js'
import { openSafetensors, type TensorSource } from './safetensors.js'
import { openSharded } from './sharded.js'

/**
 * What a user points at: a folder as transformers and timm publish it, or a .fewbit file.
 */

export interface Checkpoint {
  kind: 'checkpoint'
  /** For messages. */
  what: string
  config: JsonObject
  preprocessorConfig: JsonObject | null
  /** Read lazily; close it when the graph is built. */
  tensors: TensorSource
  /** Class names by index, or null when the configuration has none. */
  labels: string[] | null
}

/** The parts of a folder, from memory or elsewhere. */
export interface CheckpointParts {
  config: JsonObject
  preprocessorConfig?: JsonObject | null
  /** A safetensors file or its bytes. */
  weights: string | Uint8Array
}

/**
 * @param source a folder, a .fewbit file (told by its content) or its bytes, or the parts of a folder
 * @throws Error that says which part is missing or broken, and what to do
 */
export async function openCheckpoint(source: string | Uint8Array | CheckpointParts): Promise<Checkpoint | Container> {
  if (typeof source !== 'string') {
    if (ArrayBuffer.isView(source)) return openFile(source)
    const { config, preprocessorConfig = null, weights } = source
    const labels = labelsOf(config)
    return { kind: 'checkpoint', what: 'the checkpoint', config, preprocessorConfig, tensors: await openSafetensors(weights), labels }
  }
  const status = await stat(source).catch((cause) => {
    throw new Error(`${source} does not exist or cannot be read: ${cause.message}`, { cause })
  })
  return status.isDirectory() ? openFolder(source) : openFile(source)
}

async function openFile(source: string | Uint8Array): Promise<Container> {
  const file = await openSafetensors(source)
  try {
    if (!isContainer(file)) {
      throw new Error(
        `${file.what} is a safetensors file, but not a .fewbit model: give the folder that holds it together with config.json`,
      )
    }
    return await parseContainer(file)
  } finally {
    await file.close()
  }
}

async function openFolder(folder: string): Promise<Checkpoint> {
  const config = await readJsonFile(join(folder, 'config.json'))
  if (!config) throw new Error(`${folder} holds no config.json: is it the folder of a checkpoint?`)
  const preprocessorConfig = await readJsonFile(join(folder, 'preprocessor_config.json'))
  const labels = labelsOf(config)
  return { kind: 'checkpoint', what: folder, config, preprocessorConfig, tensors: await openWeights(folder), labels }
}

async function openWeights(folder: string): Promise<TensorSource> {
  const names = await readdir(folder)
  if (names.includes('model.safetensors')) return openSafetensors(join(folder, 'model.safetensors'))
  if (names.includes('model.safetensors.index.json')) return openSharded(join(folder, 'model.safetensors.index.json'))
  const pickled = names.find((name) => /\.(bin|pth?|ckpt)$/.test(name))
  const remedy = pickled ? `: ${pickled} is a pickled PyTorch file; convert it with save_pretrained(..., safe_serialization=True)` : ''
  throw new Error(`${folder} holds no model.safetensors${remedy}`)
}
