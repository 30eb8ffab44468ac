import { execFileSync } from 'node:child_process'
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromBfloat16, fromFloat16 } from '../../lib/checkpoint/floats.js'
import { openSafetensors } from '../../lib/checkpoint/safetensors.js'
import { writeSafetensors } from '../../lib/checkpoint/safetensors-write.js'
import { temporaryFolder } from '../support/folder.js'
import { entry, fileOf } from './safetensors-bytes.js'

const folder = temporaryFolder()

describe('hostile files are refused', () => {
  const f32 = entry('F32', [2], 0, 8)
  const nested = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
  it.each<[string, Uint8Array, string | RegExp]>([
    ['nothing', new Uint8Array(0), 'it has only 0 bytes'],
    ['seven bytes', new Uint8Array(7), 'it has only 7 bytes'],
    ['no header', new Uint8Array(8), 'its header does not start with {'],
    ['a header near 2^63', fileOf({}, 0, 2n ** 63n - 1n), 'its header would have 9223372036854775807 bytes'],
    ['a header of 2^64 - 1', fileOf({}, 0, 2n ** 64n - 1n), 'at most 16777216 are allowed'],
    ['a header of more than 16 MiB', fileOf({}, 0, 16_777_217n), 'at most 16777216 are allowed'],
    ['a header longer than the file', fileOf({}, 0, 3n), 'its header would have 3 bytes, the file has 10'],
    ['text', new TextEncoder().encode('{"config": "this is no tensor"}'), 'at most 16777216 are allowed'],
    ['broken JSON', fileOf('{"a":'), 'is not valid JSON'],
    ['a JSON array', fileOf('[]'), 'does not start with {'],
    ['bytes that are no text', fileOf('{"\u0000"}').fill(0xff, 10), 'is not UTF-8'],
    ['a deep header', fileOf(nested(100_000)), 'nests deeper than 32 levels'],
    ['a deep header inside a string that ends', fileOf(`{"x":"\\"","a":${'{"b":'.repeat(40)}1${'}'.repeat(40)}}`), 'nests deeper'],
    ['a million values', fileOf(`{"a":[${'{},'.repeat(1 << 20)}0]}`), 'has more than 1048576 values'],
    ['a name twice', fileOf(`{"a":${JSON.stringify(f32)},"a":${JSON.stringify(f32)}}`, 8), 'names something twice'],
    ['metadata that are no strings', fileOf({ __metadata__: { a: 1 } }), 'the metadata of a buffer'],
    ['a tensor that is no object', fileOf({ a: 3 }), 'tensor "a" is not described by an object'],
    ['a tensor without fields', fileOf({ a: {} }), 'tensor "a" has the unknown type undefined'],
    ['an unknown type', fileOf({ a: entry('F31', [2], 0, 8) }, 8), 'tensor "a" has the unknown type "F31"'],
    ['a type from the prototype', fileOf({ a: entry('toString', [2], 0, 8) }, 8), 'the unknown type "toString"'],
    ['a negative dimension', fileOf({ a: entry('F32', [-2, -1], 0, 8) }, 8), 'has the shape [-2,-1]'],
    ['a fraction', fileOf({ a: entry('F32', [0.5, 4], 0, 8) }, 8), 'has the shape [0.5,4]'],
    ['a dimension in words', fileOf({ a: entry('F32', ['2'], 0, 8) }, 8), 'has the shape ["2"]'],
    ['a long list of dimensions', fileOf({ a: entry('F32', Array(17).fill(1), 0, 4) }, 4), 'has 17 dimensions, at most 16 are allowed'],
    ['a long shape, which is not repeated', fileOf({ a: entry('F32', Array(1000).fill('x'), 0, 8) }, 8), /"x","x"…, expected/],
    ['no shape', fileOf({ a: entry('F32', null, 0, 8) }, 8), 'has the shape null'],
    ['a product beyond 2^53', fileOf({ a: entry('F32', [2 ** 30, 2 ** 30], 0, 8) }, 8), 'which is too large'],
    ['a product beyond 2^64', fileOf({ a: entry('F32', [2 ** 32, 2 ** 32, 0.5], 0, 8) }, 8), 'has the shape'],
    ['a product that is 0 only in 64 bits', fileOf({ a: entry('U8', [2 ** 32, 2 ** 32], 0, 0) }), 'which is too large'],
    ['three offsets', fileOf({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8, 8] } }, 8), 'expected [begin, end]'],
    ['offsets backwards', fileOf({ a: entry('F32', [2], 8, 0) }, 8), 'has the offsets [8,0]'],
    ['a negative offset', fileOf({ a: entry('F32', [2], -8, 0) }, 8), 'has the offsets [-8,0]'],
    ['offsets outside the file', fileOf({ a: entry('F32', [2], 0, 8) }, 7), 'it was cut off'],
    ['offsets near 2^63', fileOf({ a: entry('F32', [2], 2 ** 63, 2 ** 63 + 8) }, 8), 'has the offsets'],
    ['fewer bytes than elements', fileOf({ a: entry('F32', [2], 0, 7) }, 7), 'takes 7 bytes, but F32 of shape [2] are 8'],
    ['overlapping tensors', fileOf({ a: f32, b: entry('F32', [2], 4, 12) }, 12), 'tensor "b" overlaps another'],
    ['the same bytes twice', fileOf({ a: f32, b: f32 }, 8), 'overlaps another'],
    ['a hole', fileOf({ a: f32, b: entry('F32', [1], 12, 16) }, 16), '4 bytes before tensor "b" belong to no tensor'],
    ['a hole at the start', fileOf({ a: entry('F32', [1], 4, 8) }, 8), '4 bytes before tensor "a" belong to no tensor'],
    ['bytes behind the last tensor', fileOf({ a: f32 }, 9), 'the last 1 bytes belong to no tensor'],
  ])('%s', async (_, bytes, message) => {
    await expect(openSafetensors(bytes)).rejects.toThrow(message)
    const path = join(folder.path, 'hostile.safetensors')
    await writeFile(path, bytes)
    await expect(openSafetensors(path)).rejects.toThrow(typeof message === 'string' ? message.replace('a buffer', path) : message)
  })

  it('a pipe that nobody writes to does not hang', async () => {
    const path = join(folder.path, 'pipe.safetensors')
    execFileSync('mkfifo', [path])
    await expect(openSafetensors(path)).rejects.toThrow('pipe.safetensors is not a file')
    await rm(path)
  })

  it('a sparse file that claims 2^40 bytes of header costs no memory', async () => {
    const path = join(folder.path, 'sparse.safetensors')
    await writeFile(path, fileOf({}, 0, 2n ** 40n))
    await truncate(path, 2 ** 41).catch(() => {})
    const before = process.memoryUsage().rss
    await expect(openSafetensors(path)).rejects.toThrow('at most 16777216 are allowed')
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 26)
    await rm(path)
  })
})

it('reads names like __proto__ as names', async () => {
  const file = await openSafetensors(fileOf(`{"__proto__":${JSON.stringify(entry('U8', [1], 0, 1))}}`, Uint8Array.of(7)))
  expect(file.names()).toEqual(['__proto__'])
  expect([...(await file.raw('__proto__'))]).toEqual([7])
  await expect(file.raw('constructor')).rejects.toThrow('there is no tensor constructor')
})

it('reads empty tensors, scalars and files without tensors', async () => {
  const file = await openSafetensors(fileOf({ a: entry('F32', [0, 5], 0, 0), b: entry('F32', [], 0, 4) }, Float32Array.of(3)))
  expect(await file.tensor('a')).toEqual({ shape: [0, 5], data: new Float32Array(0) })
  expect(await file.tensor('b')).toEqual({ shape: [], data: Float32Array.of(3) })
  expect((await openSafetensors(fileOf('{}   '))).names()).toEqual([])
})

describe('many tensors at once', () => {
  // Floats that lie together, twice; between them bytes and halves, an empty tensor and a scalar. In the header in another order.
  const tensors = {
    last: entry('F32', [2], 22, 30),
    bytes: entry('U8', [2], 12, 14),
    matrix: entry('F32', [2, 1], 0, 8),
    halves: entry('BF16', [2], 14, 18),
    none: entry('F32', [0, 3], 8, 8),
    scalar: entry('F32', [], 8, 12),
    first: entry('F32', [1], 18, 22),
  }
  const data = new Uint8Array(30)
  const view = new DataView(data.buffer)
  for (const [at, value] of [
    [0, 1],
    [4, -2],
    [8, 3.5],
    [18, 4],
    [22, 5],
    [26, -6.25],
  ])
    view.setFloat32(at, value, true)
  data.set([0x80, 0x3f, 0x00, 0xc0], 14)
  const names = ['last', 'matrix', 'halves', 'none', 'scalar', 'first']

  it.each(['in memory', 'in a file', 'in a mapped file'])('are what each is by itself, %s', async (where) => {
    const path = join(folder.path, 'many.safetensors')
    const bytes = fileOf(tensors, data)
    await writeFile(path, bytes)
    const file = await openSafetensors(where === 'in memory' ? bytes : path)
    if (where === 'in a mapped file') file.map()
    const many = await file.readTensors(names)
    expect(many.size).toBe(names.length)
    for (const name of names) expect([name, many.get(name)]).toEqual([name, await file.tensor(name)])
    expect(many.get('halves')).toEqual({ shape: [2], data: Float32Array.of(1, -2) })
    expect(many.get('last')).toEqual({ shape: [2], data: Float32Array.of(5, -6.25) })
    await expect(file.readTensors(['matrix', 'bytes'])).rejects.toThrow('tensor bytes is U8, expected F32, F16 or BF16')
    await expect(file.readTensors(['matrix', 'nobody'])).rejects.toThrow('there is no tensor nobody')
    await file.close()
  })

  it('name the one that holds no number', async () => {
    const bad = data.slice()
    new DataView(bad.buffer).setFloat32(26, Number.NaN, true)
    const file = await openSafetensors(fileOf(tensors, bad))
    await expect(file.readTensors(names)).rejects.toThrow('tensor last holds NaN at element 1')
  })
})

it('reads from bytes that lie inside a larger buffer', async () => {
  const file = fileOf({ a: entry('F32', [2], 0, 8) }, Float32Array.of(1, 2))
  const larger = new Uint8Array(file.length + 13)
  larger.set(file, 13)
  expect((await (await openSafetensors(larger.subarray(13))).tensor('a')).data).toEqual(Float32Array.of(1, 2))
})

it('converts every half-width number exactly', async () => {
  const halves = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((half) => (half & 0x7c00) !== 0x7c00)
  const brains = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((half) => (half & 0x7f80) !== 0x7f80)
  const file = async (dtype: string, data: Uint16Array) =>
    (await (await openSafetensors(fileOf({ a: entry(dtype, [data.length], 0, 2 * data.length) }, data))).tensor('a')).data
  const value = (half: number) => {
    const [sign, exponent, mantissa] = [half >> 15 ? -1 : 1, (half >> 10) & 31, half & 1023]
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + mantissa / 1024) : 2 ** -24 * mantissa)
  }
  expect(await file('F16', halves)).toEqual(Float32Array.from(halves, value))
  const bits = Uint32Array.from(brains, (half) => half * 65536)
  expect(await file('BF16', brains)).toEqual(new Float32Array(bits.buffer))
})

it.each([
  ['F32', new Uint32Array([0, 0x7f800000, 0]), 'Infinity', 4],
  ['F32', new Uint32Array([0, 0xff800001, 0]), 'NaN', 4],
  ['F16', new Uint16Array([0, 0xfc00, 0]), '-Infinity', 2],
  ['BF16', new Uint16Array([0, 0x7fc0, 0]), 'NaN', 2],
] as const)('refuses a weight in %s that holds %p', async (dtype, data, shown, size) => {
  const file = await openSafetensors(fileOf({ w: entry(dtype, [3], 0, 3 * size) }, data))
  await expect(file.tensor('w')).rejects.toThrow(`tensor w holds ${shown} at element 1`)
})

it('refuses to read integers as weights, but gives their bytes', async () => {
  const file = await openSafetensors(fileOf({ n: entry('I64', [1], 0, 8) }, BigInt64Array.of(-2n)))
  await expect(file.tensor('n')).rejects.toThrow('tensor n is I64, expected F32, F16 or BF16')
  expect(new BigInt64Array((await file.raw('n')).buffer)[0]).toBe(-2n)
})

it('notices that a file shrinks after it was opened', async () => {
  const path = join(folder.path, 'shrinking.safetensors')
  await writeFile(path, fileOf({ a: entry('F32', [1000], 0, 4000) }, 4000))
  const file = await openSafetensors(path)
  await truncate(path, 3000)
  await expect(file.tensor('a')).rejects.toThrow('ended while it was read')
  await file.close()
})

it('names what cannot be opened', async () => {
  await expect(openSafetensors(join(folder.path, 'none'))).rejects.toThrow('ENOENT')
  await expect(openSafetensors(folder.path)).rejects.toThrow(/is not a file|EISDIR/)
})

it.each([
  ['binary16', fromFloat16],
  ['bfloat16', fromBfloat16],
])('lets the event loop turn while a large weight of %s is widened', async (_, widen) => {
  const slices = 16
  let turns = 0
  let counting = true
  const count = () => {
    turns++
    if (counting) setImmediate(count)
  }
  setImmediate(count)
  await widen(new Uint16Array(slices << 20))
  counting = false
  // Turns instead of delays: the machine may be busy with other things, or fast.
  expect(turns).toBeGreaterThanOrEqual(slices - 1)
})

describe('what is written', () => {
  const tensors = [
    { name: 'z', dtype: 'F32', shape: [3], data: Float32Array.of(1, 2, 3) },
    { name: 'b', dtype: 'U8', shape: [5], data: Uint8Array.of(1, 2, 3, 4, 5) },
    { name: 'a', dtype: 'U8', shape: [64], data: new Uint8Array(64).fill(9) },
    { name: 'x', dtype: 'F32', shape: [16], data: new Float32Array(16).fill(7) },
    { name: 'h', dtype: 'F16', shape: [1], data: Uint16Array.of(0x3c00) },
    { name: 'd', dtype: 'I64', shape: [1], data: BigInt64Array.of(5n) },
  ] as const

  it('is read again, aligned, and the same for any order', async () => {
    const [first, second] = ['one', 'two'].map((name) => join(folder.path, `${name}.safetensors`))
    const bytes = await writeSafetensors(first, [...tensors] as never, { who: 'a "test"' })
    await writeSafetensors(second, [...tensors].reverse() as never, { who: 'a "test"' })
    const content = await readFile(first)
    expect(content.length).toBe(bytes)
    expect(Buffer.compare(content, await readFile(second))).toBe(0)
    const file = await openSafetensors(first)
    expect(file.metadata).toEqual({ who: 'a "test"' })
    expect(await file.tensor('z')).toEqual({ shape: [3], data: Float32Array.of(1, 2, 3) })
    expect([...(await file.raw('b'))]).toEqual([1, 2, 3, 4, 5])
    expect((await file.tensor('h')).data).toEqual(Float32Array.of(1))
    // What can lie on 64 bytes, and then the rest; the widest elements of each first.
    expect(file.names()).toEqual(['x', 'a', 'd', 'z', 'h', 'b'])
    expect(((file.info('a')?.begin as number) % 64) + ((file.info('d')?.begin as number) % 8)).toBe(0)
    await file.close()
  })

  it('is refused when sizes or names do not fit', async () => {
    const path = join(folder.path, 'never.safetensors')
    await expect(writeSafetensors(path, [{ ...tensors[0], shape: [4] }])).rejects.toThrow('tensor z has 12 bytes, its shape asks for 16')
    await expect(writeSafetensors(path, [tensors[0] as never, tensors[0] as never])).rejects.toThrow('two tensors are called z')
  })
})
