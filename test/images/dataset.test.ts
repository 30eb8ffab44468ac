import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import sharp from 'sharp'
import { type DatasetOptions, memoryDataset, openDataset } from '../../lib/images/dataset.js'
import { parseCsv } from '../../lib/images/datasets/csv.js'
import type { RawImage } from '../../lib/images/image.js'
import { describeWith, shared } from '../support/shared.js'
import { noise } from './pixels.js'

const PETS = ['cat', 'dog', 'great white shark']
const CIFAR = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fewbit-dataset-'))
})
afterEach(() => rm(folder, { recursive: true }))

/** Writes files under the test's folder; a number becomes a PNG of one grey pixel of that level. */
async function lay(files: Record<string, number | string | Uint8Array>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, typeof content === 'number' ? await pixel(content) : content)
  }
}

function pixel(level: number): Promise<Buffer> {
  return sharp(Buffer.of(level, level, level), { raw: { width: 1, height: 1, channels: 3 } })
    .png()
    .toBuffer()
}

/** First byte of each image, and the labels. */
async function contents(path: string, options?: DatasetOptions): Promise<{ levels: number[]; labels: number[] | null }> {
  const dataset = await openDataset(path, options)
  const levels: number[] = []
  for (let i = 0; i < dataset.length; i++) levels.push((await dataset.load(i)).data[0])
  return { levels, labels: dataset.labels && [...dataset.labels] }
}

/** A CIFAR-10 record: red plane `level`, green level + 1, blue counts up. */
function record(label: number, level: number): Uint8Array {
  const bytes = new Uint8Array(3073)
  bytes[0] = label
  bytes.fill(level, 1, 1025).fill(level + 1, 1025, 2049)
  for (let i = 0; i < 1024; i++) bytes[2049 + i] = i & 255
  return bytes
}

describe('CIFAR-10', () => {
  beforeEach(() =>
    lay({
      'cifar/data_batch_1.bin': Buffer.concat([record(3, 10), record(4, 20)]),
      'cifar/data_batch_2.bin': record(5, 30),
      'cifar/test_batch.bin': Buffer.concat([record(9, 40), record(0, 50), record(1, 60)]),
      'cifar/batches.meta.txt': 'airplane\n',
    }),
  )

  test('train is the data batches, test the test batch, nothing is all', async () => {
    const path = join(folder, 'cifar')
    expect(await contents(path, { split: 'train', labels: CIFAR })).toEqual({ levels: [10, 20, 30], labels: [3, 4, 5] })
    expect(await contents(path, { split: 'test', labels: CIFAR })).toEqual({ levels: [40, 50, 60], labels: [9, 0, 1] })
    expect((await contents(path)).levels).toEqual([10, 20, 30, 40, 50, 60])
  })

  test('a folder of one kind serves both, and so does a file', async () => {
    await rm(join(folder, 'cifar/test_batch.bin'))
    expect((await contents(join(folder, 'cifar'), { split: 'test' })).levels).toEqual([10, 20, 30])
    expect((await contents(join(folder, 'cifar/data_batch_2.bin'), { split: 'test' })).levels).toEqual([30])
  })

  test('planes become interleaved pixels', async () => {
    const dataset = await openDataset(join(folder, 'cifar/test_batch.bin'))
    const image = await dataset.load(1)
    expect([image.width, image.height, image.channels]).toEqual([32, 32, 3])
    expect([...image.data.slice(0, 9)]).toEqual([50, 51, 0, 50, 51, 1, 50, 51, 2])
    expect([...image.data.slice(-3)]).toEqual([50, 51, 255])
  })

  test('names and description say the file and the place', async () => {
    const dataset = await openDataset(join(folder, 'cifar'), { split: 'train' })
    expect(dataset.name(1)).toBe(`${join(folder, 'cifar/data_batch_1.bin')}, image 1`)
    expect(dataset.name(2)).toBe(`${join(folder, 'cifar/data_batch_2.bin')}, image 0`)
    expect(dataset.describe()).toContain('3 images of')
    expect(dataset.describe()).toContain('data_batch_1.bin, data_batch_2.bin')
    await expect(dataset.load(3)).rejects.toThrow(/no image 3: the indices are 0\.\.2/)
  })

  test('refusals', async () => {
    const path = join(folder, 'odd.bin')
    const refuse = async (bytes: Uint8Array, message: RegExp, options?: DatasetOptions): Promise<void> => {
      await writeFile(path, bytes)
      await expect(openDataset(path, options)).rejects.toThrow(message)
    }
    await refuse(new Uint8Array(0), /odd\.bin is empty/)
    await refuse(new Uint8Array(3074), /odd\.bin has 3074 bytes, which is no multiple of 3073/)
    await refuse(Buffer.concat([record(0, 1), record(10, 2)]), /odd\.bin, image 1: label 10 is not one of CIFAR-10's/)
    await refuse(record(0, 1), /CIFAR-10, which has 10 classes, but the model has 3/, { labels: PETS })
  })
})

describe('folders of classes', () => {
  test('named as classes, whatever the order, letter case and underscores', async () => {
    await lay({ 'Great_White_Shark/a.png': 1, 'dog/b.png': 2, 'cat/c.png': 3, 'cat/deeper/d.png': 4 })
    expect(await contents(folder, { labels: PETS })).toEqual({ levels: [1, 3, 4, 2], labels: [2, 0, 0, 1] })
  })

  test('some of the classes are enough when they are named', async () => {
    await lay({ 'dog/b.png': 2 })
    expect(await contents(folder, { labels: PETS })).toEqual({ levels: [2], labels: [1] })
  })

  test('named by index', async () => {
    await lay({ '10/a.png': 1, '2/b.png': 2 })
    const labels = Array.from({ length: 11 }, (_, i) => `LABEL_${i}`)
    expect(await contents(folder, { labels })).toEqual({ levels: [1, 2], labels: [10, 2] })
    await expect(openDataset(folder, { labels: PETS })).rejects.toThrow(/label 10 is outside the model's classes 0\.\.2/)
  })

  test('other names, as many as classes: sorted order', async () => {
    await lay({ 'n03/a.png': 3, 'n01/b.png': 1, 'n02/c.png': 2 })
    expect(await contents(folder, { labels: PETS })).toEqual({ levels: [1, 2, 3], labels: [0, 1, 2] })
  })

  test('another number of folders says both numbers', async () => {
    await lay({ 'n03/a.png': 3, 'n01/b.png': 1 })
    await expect(openDataset(folder, { labels: PETS })).rejects.toThrow(
      /holds 2 folders of images \(n01, n03\) but the model has 3 classes/,
    )
    expect((await contents(folder)).levels).toEqual([1, 3])
  })

  test('a misspelt class among right ones is not guessed', async () => {
    await lay({ 'cat/a.png': 3, 'dgo/b.png': 1, 'great white shark/c.png': 1 })
    await expect(openDataset(folder, { labels: PETS })).rejects.toThrow(/no class of the model is called dgo/)
  })

  test('a name of two classes is not guessed', async () => {
    await lay({ 'crane/a.png': 3 })
    await expect(openDataset(folder, { labels: ['crane', 'egret', 'crane'] })).rejects.toThrow(
      /classes 0 and 2 are both called crane; use the index/,
    )
  })

  test('hidden and other files do not count, links do', async () => {
    await lay({ 'cat/a.PNG': 1, 'cat/notes.txt': 'x', 'cat/.b.png': 2, '.git/c.png': 3, 'README.md': 'x', 'elsewhere.txt': '' })
    await symlink(join(folder, 'cat'), join(folder, 'dog'))
    expect(await contents(folder, { labels: PETS })).toEqual({ levels: [1, 1], labels: [0, 1] })
  })

  test('a link that leads nowhere is named', async () => {
    await lay({ 'cat/a.png': 1 })
    await symlink('moved-away.png', join(folder, 'cat', 'b.png'))
    await expect(openDataset(folder)).rejects.toThrow(/^cannot read the link .*cat.b\.png: ENOENT/)
  })

  test('a link that leads back up ends', async () => {
    await lay({ 'cat/a.png': 1 })
    await symlink(folder, join(folder, 'cat', 'loop'))
    await expect(openDataset(folder)).rejects.toThrow(/does a link lead back up/)
  })
})

describe('images without labels', () => {
  test('a flat folder, sorted by name', async () => {
    await lay({ 'b.png': 2, 'a.png': 1 })
    expect(await contents(folder, { labels: PETS })).toEqual({ levels: [1, 2], labels: null })
  })

  test('one image', async () => {
    await lay({ 'a.png': 7 })
    const path = join(folder, 'a.png')
    expect(await contents(path)).toEqual({ levels: [7], labels: null })
    expect((await openDataset(path)).describe()).toBe(path)
  })

  test('a damaged image names itself when it is loaded', async () => {
    await lay({ 'a.png': 'no image' })
    const dataset = await openDataset(folder)
    await expect(dataset.load(0)).rejects.toThrow(/cannot decode .*a\.png/)
  })
})

describe('labels.csv', () => {
  beforeEach(() => lay({ 'a.png': 1, 'b, c.png': 2, 'deep/"d".png': 3 }))
  const table = (text: string): Promise<void> => lay({ 'labels.csv': text })

  test('indices and names, quoting, other columns, any order, CRLF and a byte order mark', async () => {
    await table('\ufefflabel,source,file\r\n2,"two\r\nlines",a.png\r\n\r\n Dog ,,"b, c.png"\r\n0,x,"deep/""d"".png"')
    expect(await contents(folder, { labels: PETS })).toEqual({ levels: [1, 2, 3], labels: [2, 1, 0] })
    expect(await contents(join(folder, 'labels.csv'), { labels: PETS })).toEqual({ levels: [1, 2, 3], labels: [2, 1, 0] })
  })

  test('an absolute path stays as it is', async () => {
    await lay({ 'lists/labels.csv': `file,label\n${join(folder, 'a.png')},0\n../a.png,1\n` })
    expect(await contents(join(folder, 'lists'), { labels: PETS })).toEqual({ levels: [1, 1], labels: [0, 1] })
  })

  test('without the model, indices stay and names mean nothing', async () => {
    await table('file,label\na.png,900\n')
    expect(await contents(folder)).toEqual({ levels: [1], labels: [900] })
    await table('file,label\na.png,wolf\n')
    expect(await contents(folder)).toEqual({ levels: [1], labels: null })
  })

  test.each([
    ['', /labels\.csv: the first line must name the columns, among them file and label, but is ""/],
    ['a.png,0\n', /but is "a\.png,0"/],
    ['file,label\n', /labels\.csv lists no images/],
    ['file,label\na.png,3\n', /labels\.csv, line 2: label 3 is outside the model's classes 0\.\.2/],
    ['file,label\na.png,wolf\n', /line 2: label "wolf" is neither an index nor one of the model's classes \(cat, dog, great white shark\)/],
    ['file,label\na.png,-1\n', /line 2: label "-1" is neither/],
    ['file,label\na.png,\n', /line 2: label "" is neither/],
    ['file,label\na.png\n', /line 2: 1 columns, but the header has 2/],
    ['file,label\na.png,0,0\n', /line 2: 3 columns/],
    ['file,label\n,0\n', /line 2: the file is missing/],
    ['file,label\n"a.png",0\nnone.png,1\n', /line 3: there is no file .*none\.png/],
    ['file,label\ndeep,1\n', /line 2: there is no file .*deep/],
    ['file,label\na.png,0\n"b, c.png,1\n', /line 3: a quote is not closed/],
    ['file,label\na"b".png,0\n', /line 2: a quote .* stands inside a cell/],
    ['file,label\n"a"b.png,0\n', /line 2: a quote/],
  ])('%j is refused', async (text, message) => {
    await table(text)
    await expect(openDataset(folder, { labels: PETS })).rejects.toThrow(message)
  })

  test.each(['labels.csv', 'data_batch_1.bin'])('%s that is a link to a device', async (name) => {
    await symlink('/dev/null', join(folder, name))
    await expect(openDataset(folder)).rejects.toThrow(/^cannot read .*: it is not a regular file$/)
  })

  test('text that is not UTF-8', async () => {
    await lay({ 'labels.csv': Uint8Array.of(0x66, 0xff, 0xfe) })
    await expect(openDataset(folder)).rejects.toThrow(/cannot read .*labels\.csv/)
  })
})

test('parseCsv follows RFC 4180', () => {
  const cells = (text: string): string[][] => parseCsv(text, 'x').map((row) => row.cells)
  expect(cells('a,b\n1,2')).toEqual([
    ['a', 'b'],
    ['1', '2'],
  ])
  expect(cells('"a ""b"", c","d\r\ne"\r\n,')).toEqual([
    ['a "b", c', 'd\r\ne'],
    ['', ''],
  ])
  expect(cells('a,\n""\n\n,b\r')).toEqual([
    ['a', ''],
    ['', 'b'],
  ])
  expect(cells('')).toEqual([])
  expect(parseCsv('"x\ny\r\nz"\n\nb\rc', 'x').map((row) => row.line)).toEqual([1, 5, 6])
})

describe('what is no dataset', () => {
  test('a path that is not there', async () => {
    await expect(openDataset(join(folder, 'none'))).rejects.toThrow(/cannot read .*none: ENOENT/)
  })

  test('a folder without images', async () => {
    await expect(openDataset(folder)).rejects.toThrow(/holds no images \(\.jpg .*\), no CIFAR-10 batches and no labels\.csv/)
    await lay({ 'a/notes.txt': 'x', 'data.bin': 'x' })
    await expect(openDataset(folder)).rejects.toThrow(/holds no images/)
  })

  test('images beside folders of images', async () => {
    await lay({ 'a.png': 1, 'cat/b.png': 2 })
    await expect(openDataset(folder)).rejects.toThrow(/holds both images \(a\.png, …\) and folders of images \(cat, …\)/)
  })

  test('another file', async () => {
    await lay({ 'a.txt': 'x' })
    await expect(openDataset(join(folder, 'a.txt'))).rejects.toThrow(/a\.txt is neither an image nor/)
  })
})

describe('in memory', () => {
  test('paths, files and pixels, with and without labels', async () => {
    await lay({ 'a.png': 1 })
    const pixels = noise(2, 2, 1)
    const dataset = memoryDataset([join(folder, 'a.png'), await pixel(9), pixels], [2, 0, 1])
    expect([dataset.length, [...(dataset.labels ?? [])]]).toEqual([3, [2, 0, 1]])
    expect((await dataset.load(0)).data[0]).toBe(1)
    expect((await dataset.load(1)).data[0]).toBe(9)
    expect(await dataset.load(2)).toBe(pixels)
    expect([dataset.name(0), dataset.name(1)]).toEqual([join(folder, 'a.png'), 'image 1'])
    expect(memoryDataset([pixels]).labels).toBeNull()
  })

  test('refusals', async () => {
    const pixels = noise(1, 1, 1)
    expect(() => memoryDataset([])).toThrow('there are no images')
    expect(() => memoryDataset([pixels], [1, 2])).toThrow(/1 images but 2 labels/)
    expect(() => memoryDataset([pixels], [-1])).toThrow(/label 0 must be an integer from 0 on, not -1/)
    expect(() => memoryDataset([pixels, { ...pixels, width: 3 }])).toThrow(/image 1: 3 x 1 pixels of 1 channels are 3 bytes/)
    expect(() => memoryDataset([{} as RawImage])).toThrow(/image 0: data must be/)
    await expect(memoryDataset([pixels]).load(1)).rejects.toThrow(/no image 1/)
  })
})

describeWith('cifar10')('../shared/cifar10', () => {
  test('5,000 test and 20,000 training images, 2,000 a class', async () => {
    const test = await openDataset(shared('cifar10'), { split: 'test', labels: CIFAR })
    const train = await openDataset(shared('cifar10'), { split: 'train', labels: CIFAR })
    expect([test.length, train.length]).toEqual([5000, 20000])
    const counts = new Array(10).fill(0)
    train.labels?.forEach((label) => counts[label]++)
    expect(counts).toEqual(new Array(10).fill(2000))
  })
})

describeWith('imagenet-like')('../shared/imagenet-like', () => {
  test('100 and 900 photographs of 299 x 299', async () => {
    for (const [name, count] of [
      ['calibration', 100],
      ['test', 900],
    ] as const) {
      const dataset = await openDataset(shared('imagenet-like', name), { labels: Array.from({ length: 1000 }, (_, i) => `class ${i}`) })
      expect([dataset.length, dataset.labels?.length]).toEqual([count, count])
      const image = await dataset.load(count - 1)
      expect([image.width, image.height]).toEqual([299, 299])
    }
  })
})
