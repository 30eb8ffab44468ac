import { copyFile, readFile, rename, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import addon from '#addon'
import { type Container, readContainer, writeContainer } from '../../lib/checkpoint/container.js'
import { lower } from '../../lib/graph/lower.js'
import { Session } from '../../lib/runtime/session.js'
import { temporaryFolder } from '../support/folder.js'
import { normals } from '../support/random.js'
import { simpleScheme } from '../support/random-scheme.js'
import { SMALL_SHAPE, smallVit } from '../support/small-vit.js'

/**
 * Packed weights are read where they lie in the file: while a model is in use, its file may be replaced, removed, or changed.
 */

const folder = temporaryFolder()
const pixels = normals(5, SMALL_SHAPE.channels * SMALL_SHAPE.imageHeight * SMALL_SHAPE.imageWidth)
let original: string
let expected: Float32Array

const logits = (session: Session): Promise<Float32Array> => session.run(pixels, 1)
const open = ({ graph, scheme }: Container): Session => new Session(lower(graph, scheme).plan)

async function copy(name: string): Promise<string> {
  const path = join(folder.path, name)
  await copyFile(original, path)
  return path
}

beforeAll(async () => {
  const graph = await smallVit()
  const labels = Array.from({ length: SMALL_SHAPE.classes }, (_, i) => String(i))
  const parts = { graph, scheme: simpleScheme(graph, pixels), preprocessing: null, labels }
  original = join(folder.path, 'original.fewbit')
  await writeContainer(original, parts)
  expected = await logits(new Session(lower(graph, parts.scheme).plan))
})

test('weights are not copied when a file is read', async () => {
  const create = jest.spyOn(addon, 'createBlob')
  const allocate = jest.spyOn(addon, 'allocateBlob')
  try {
    const container = await readContainer(original)
    expect(create).not.toHaveBeenCalled()
    expect(allocate).not.toHaveBeenCalled()
    expect(await logits(open(container))).toEqual(expected)
  } finally {
    create.mockRestore()
    allocate.mockRestore()
  }
})

test('without mapped files the weights are read', async () => {
  const map = jest.spyOn(addon, 'mapFile').mockImplementation(() => {
    throw new Error('files are not mapped on this system')
  })
  try {
    expect(await logits(open(await readContainer(original)))).toEqual(expected)
  } finally {
    map.mockRestore()
  }
})

test('tensors that are not aligned are copied', async () => {
  const bytes = await readFile(original)
  const length = Number(bytes.readBigUInt64LE(0))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(length + 1))
  const path = join(folder.path, 'odd.fewbit')
  await writeFile(path, Buffer.concat([prefix, bytes.subarray(8, 8 + length), Buffer.from(' '), bytes.subarray(8 + length)]))
  expect(await logits(open(await readContainer(path)))).toEqual(expected)
})

test('a file that is replaced goes on existing for the model', async () => {
  const path = await copy('replaced.fewbit')
  const container = await readContainer(path)
  const other = join(folder.path, 'other')
  await writeFile(other, 'something else')
  await rename(other, path)
  expect(await logits(open(container))).toEqual(expected)
  await expect(readContainer(path)).rejects.toThrow('is not a safetensors file')
})

test('a file that is cut off makes runs fail, and nothing else', async () => {
  const path = await copy('cut.fewbit')
  const [before, after] = [await readContainer(path), await readContainer(path)]
  const session = open(before)
  expect(await logits(session)).toEqual(expected)
  await truncate(path, 100)
  await expect(logits(session)).rejects.toThrow('the file of this model was changed while it was in use: load the model again')
  expect(() => open(after)).toThrow('was changed while it was in use')
  expect(() => [...after.scheme.weights.values()].map(({ packed }) => packed)).toThrow('was changed while it was in use')
  await expect(readContainer(path)).rejects.toThrow('cut off')
  expect(await logits(open(await readContainer(original)))).toEqual(expected)
})

test('a file that is overwritten in place makes runs fail', async () => {
  const path = await copy('overwritten.fewbit')
  await utimes(path, 1000, 1000)
  const session = open(await readContainer(path))
  expect(await logits(session)).toEqual(expected)
  await copyFile(original, path)
  await expect(logits(session)).rejects.toThrow('was changed while it was in use')
})
