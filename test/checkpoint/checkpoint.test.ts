import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Checkpoint, openCheckpoint } from '../../lib/checkpoint/checkpoint.js'
import { labelsOf } from '../../lib/checkpoint/config.js'
import { writeSafetensors } from '../../lib/checkpoint/safetensors-write.js'
import { DIGITS } from '../support/digits.js'
import { temporaryFolder } from '../support/folder.js'

const root = temporaryFolder()
let folder: string
let count = 0
const put = (name: string, content: unknown) =>
  writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
const tensor = (name: string, ...data: number[]) => ({ name, dtype: 'F32' as const, shape: [data.length], data: Float32Array.from(data) })

beforeEach(async () => {
  folder = join(root.path, `checkpoint-${count++}`)
  await mkdir(folder)
})

describe('a folder', () => {
  it('is opened with all its parts', async () => {
    const opened = (await openCheckpoint(DIGITS)) as Checkpoint
    expect(opened.kind).toBe('checkpoint')
    expect(opened.config.model_type).toBe('vit')
    expect(opened.preprocessorConfig?.image_mean).toEqual([0.5])
    expect(opened.labels).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
    const head = await opened.tensors.tensor('classifier.bias')
    expect(head.shape).toEqual([10])
    await opened.tensors.close()
  })

  it('needs no preprocessor_config.json', async () => {
    await put('config.json', { model_type: 'vit' })
    await writeSafetensors(join(folder, 'model.safetensors'), [tensor('a', 1)])
    const opened = (await openCheckpoint(folder)) as Checkpoint
    expect([opened.preprocessorConfig, opened.labels]).toEqual([null, null])
    await opened.tensors.close()
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['nothing', {}, 'holds no config.json'],
    ['no weights', { 'config.json': {} }, 'holds no model.safetensors'],
    ['a pickle', { 'config.json': {}, 'pytorch_model.bin': '' }, 'pytorch_model.bin is a pickled PyTorch file; convert it'],
    ['a broken config.json', { 'config.json': '{' }, 'config.json is not valid JSON'],
    ['a config.json that is a list', { 'config.json': '[]' }, 'config.json is not a JSON object'],
    ['a deep config.json', { 'config.json': '{"a":'.repeat(50_000) }, 'config.json nests deeper than 32 levels'],
    [
      'a broken preprocessor_config.json',
      { 'config.json': {}, 'preprocessor_config.json': 'x' },
      'preprocessor_config.json is not valid JSON',
    ],
    ['broken weights', { 'config.json': {}, 'model.safetensors': 'too short' }, 'is not a safetensors file'],
    ['a label too few', { 'config.json': { id2label: { 0: 'a', 2: 'b' } } }, 'no name for class 1'],
  ])('with %s is refused', async (_, files, message) => {
    for (const [name, content] of Object.entries(files)) await put(name, content)
    await expect(openCheckpoint(folder)).rejects.toThrow(message)
    await expect(openCheckpoint(folder)).rejects.toThrow(/\.json|checkpoint-\d+/)
  })
})

it('says that a path does not exist, or is another kind of file', async () => {
  await expect(openCheckpoint(join(folder, 'none'))).rejects.toThrow('does not exist or cannot be read')
  await writeSafetensors(join(folder, 'x'), [tensor('a', 1)])
  await expect(openCheckpoint(join(folder, 'x'))).rejects.toThrow('but not a .fewbit model: give the folder')
  await put('photo.jpg', '\xff\xd8\xff\xe0 a picture')
  await expect(openCheckpoint(join(folder, 'photo.jpg'))).rejects.toThrow('is not a safetensors file')
  await expect(openCheckpoint(await readFile(join(folder, 'photo.jpg')))).rejects.toThrow('is not a safetensors file')
})

it('takes parts from memory', async () => {
  await writeSafetensors(join(folder, 'x'), [tensor('a', 1, 2)])
  const weights = await readFile(join(folder, 'x'))
  const opened = (await openCheckpoint({ config: { id2label: { 0: 'cat' } }, weights })) as Checkpoint
  expect(opened.labels).toEqual(['cat'])
  expect((await opened.tensors.tensor('a')).data).toEqual(Float32Array.of(1, 2))
})

describe('a checkpoint in shards', () => {
  beforeEach(async () => {
    await put('config.json', {})
    await writeSafetensors(join(folder, 'm-1.safetensors'), [tensor('a', 1)])
    await writeSafetensors(join(folder, 'm-2.safetensors'), [tensor('b', 2), tensor('c', 3)])
  })
  const index = (map: unknown) => put('model.safetensors.index.json', { metadata: { total_size: 12 }, weight_map: map })

  it('is one source of tensors', async () => {
    await index({ a: 'm-1.safetensors', b: 'm-2.safetensors' })
    const { tensors } = (await openCheckpoint(folder)) as Checkpoint
    expect(tensors.names()).toEqual(['a', 'b'])
    expect((await tensors.tensor('b')).data).toEqual(Float32Array.of(2))
    expect(tensors.info('a')?.shape).toEqual([1])
    expect(tensors.info('c')).toBeUndefined()
    await expect(tensors.tensor('c')).rejects.toThrow('there is no tensor c')
    await tensors.close()
  })

  it.each<[string, unknown, string]>([
    ['a shard that is missing', { a: 'm-3.safetensors' }, 'm-3.safetensors is missing'],
    ['a tensor that is not in its shard', { b: 'm-1.safetensors' }, 'm-1.safetensors holds tensor b, but it does not'],
    ['a way out of the folder', { a: '../m-1.safetensors' }, 'is not the name of a safetensors file'],
    ['an absolute path', { a: '/etc/m-1.safetensors' }, 'is not the name of a safetensors file'],
    ['a way out by backslashes', { a: '..\\m-1.safetensors' }, 'is not the name of a safetensors file'],
    ['another drive', { a: 'c:m-1.safetensors' }, 'is not the name of a safetensors file'],
    ['a number', { a: 1 }, 'is not the name of a safetensors file'],
    ['no map', null, 'has no weight_map'],
  ])('with %s is refused', async (_, map, message) => {
    await index(map)
    await expect(openCheckpoint(folder)).rejects.toThrow(message)
  })

  it('with a huge index is refused before it is read', async () => {
    await put('model.safetensors.index.json', '')
    await truncate(join(folder, 'model.safetensors.index.json'), 2 ** 33)
    await expect(openCheckpoint(folder)).rejects.toThrow('index.json has 8589934592 bytes, too many')
  })

  it('with a broken shard is refused', async () => {
    await index({ a: 'm-1.safetensors' })
    await writeFile(join(folder, 'm-1.safetensors'), '')
    await expect(openCheckpoint(folder)).rejects.toThrow(/m-1\.safetensors is not a safetensors file/)
    await rm(join(folder, 'm-1.safetensors'))
  })
})

it('finds the names of classes', () => {
  expect(labelsOf({})).toBeNull()
  expect(labelsOf({ id2label: { 1: 'dog', 0: 'cat' } })).toEqual(['cat', 'dog'])
  expect(labelsOf({ label_names: ['tench', 'goldfish'] })).toEqual(['tench', 'goldfish'])
  const descriptions = { n01: 'tench, Tinca tinca' }
  expect(labelsOf({ label_names: ['n01', 'n02'], label_descriptions: descriptions })).toEqual(['tench, Tinca tinca', 'n02'])
  expect(() => labelsOf({ label_names: [1] })).toThrow('label_names[0] is not a string')
})
