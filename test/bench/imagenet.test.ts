import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { writeDigits } from '../support/digit-files.js'
import { writeFirstBlock } from '../support/digits.js'

const BENCH = resolve(__dirname, '../../bench/imagenet.mjs')

interface Row {
  contestant: string
  top1: number
  drop: number
  divergence?: number
  published?: number
}

let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fewbit-imagenet-'))
  await writeDigits(join(folder, 'train'), 'train', 2)
  await writeDigits(join(folder, 'val'), 'test', 3)
  await writeFirstBlock(join(folder, 'checkpoint'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const run = (...args: string[]) => spawnSync(process.execPath, [BENCH, ...args], { encoding: 'utf8' })

it('measures every row of the papers on a checkpoint and a folder of images, published figures beside them', () => {
  const { status, stdout, stderr } = run(
    join(folder, 'checkpoint'),
    folder,
    '--calibration-images',
    '10',
    '--published',
    'DeiT-T',
    '--json',
  )
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' })
  const rows: Row[] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const [float, ...others] = rows
  expect(float).toMatchObject({ contestant: 'float', drop: 0, published: 72.18 })
  expect(others.map(({ contestant }) => contestant.split(',')[0]).sort()).toEqual(
    ['minmax', 'minmax', 'minmax', 'tsptq', 'tsptq', 'tsptq', 'mptq', 'mptq', 'best', 'best', 'best'].sort(),
  )
  for (const { contestant, top1, drop, divergence, published } of others) {
    expect(drop).toBeCloseTo(100 * (float.top1 - top1), 9)
    expect(Math.round(30 * top1)).toBeCloseTo(30 * top1, 9)
    expect(divergence).toBeGreaterThan(0)
    expect({ contestant, has: published !== undefined }).toEqual({ contestant, has: /^(tsptq|mptq)/.test(contestant) })
  }
  const of = (start: string) =>
    others.filter(({ contestant }) => contestant.startsWith(start)).map(({ divergence }) => divergence as number)
  expect(of('best, fully')[0]).toBeLessThan(of('best, partial, W4A4')[0])
})

it('tells how it is used', () => {
  for (const args of [[], ['checkpoint'], ['checkpoint', 'data', '--published', 'ResNet']]) {
    const { status, stderr } = run(...args)
    expect(status).toBe(2)
    expect(stderr).toContain('bench:imagenet -- CHECKPOINT DATA')
  }
})
