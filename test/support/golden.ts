import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openSafetensors, type SafetensorsFile, type TensorSource } from '../../lib/checkpoint/safetensors.js'
import type { Tensor } from '../../lib/graph/graph.js'

/**
 * What reference implementations computed, with weights and inputs that both sides make from names: see the README in fixtures/golden.
 */

const FOLDER = join(__dirname, '../fixtures/golden')

export interface Golden {
  name: string
  config: Record<string, unknown>
  tensors: Record<string, number[]>
  inputs: Record<string, number[]>
  outputs: Record<string, number[]>
  parameters: number
}

export function readGolden(name: string): Golden {
  return JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8'))
}

export function openGoldenOutputs(name: string): Promise<SafetensorsFile> {
  return openSafetensors(join(FOLDER, `${name}.safetensors`))
}

export function fnv1a(text: string): number {
  let hash = 2166136261
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 16777619)
  return hash >>> 0
}

/** `count` values in [-1, 1) that follow from a name. */
export function unit(name: string, count: number): Float32Array {
  const seed = fnv1a(name)
  // Looking up a global is slow inside jest.
  const { imul } = Math
  const values = new Float32Array(count)
  for (let i = 0; i < count; i++) {
    let h = seed ^ imul(i, 0x9e3779b1)
    h = imul(h ^ (h >>> 16), 0x85ebca6b)
    h = imul(h ^ (h >>> 13), 0xc2b2ae35)
    values[i] = ((h ^ (h >>> 16)) >>> 8) * 2 ** -23 - 1
  }
  return values
}

const product = (shape: number[]): number => shape.reduce((a, b) => a * b, 1)

/** The weight of this name and shape. */
export function goldenTensor(name: string, shape: number[]): Tensor {
  const data = unit(name, product(shape))
  const [center, spread] = name.endsWith('bias') && shape.length === 1 ? [0, 0.05] : distribution(name, shape)
  for (let i = 0; i < data.length; i++) data[i] = center + spread * data[i]
  return { shape, data }
}

function distribution(name: string, shape: number[]): [center: number, spread: number] {
  if (!name.endsWith('weight')) return [0, 0.2]
  return shape.length === 1 ? [1, 0.1] : [0, Math.sqrt(3 / product(shape.slice(1)))]
}

/** A checkpoint that is never stored. */
export function goldenSource(tensors: Record<string, number[]>): TensorSource {
  return sourceOf(tensors, async (name) => goldenTensor(name, tensors[name]))
}

/** Tensors from a function, as if they came from a file. */
export function sourceOf(shapes: Record<string, number[]>, tensor: (name: string) => Promise<Tensor>): TensorSource {
  return {
    what: 'the test',
    names: () => Object.keys(shapes),
    info: (name) => (Object.hasOwn(shapes, name) ? { dtype: 'F32', shape: shapes[name], begin: 0, end: 0 } : undefined),
    tensor,
    raw: () => Promise.reject(new Error('not stored')),
    close: async () => {},
  }
}

/** Norm of the difference over the norm. */
export function relativeError(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0
  let norm = 0
  if (found.length !== expected.length) throw new Error(`${found.length} values, expected ${expected.length}`)
  for (let i = 0; i < found.length; i++) {
    difference += (found[i] - expected[i]) ** 2
    norm += expected[i] ** 2
  }
  return Math.sqrt(difference / norm)
}
