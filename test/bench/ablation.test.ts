import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { writeDigits } from '../support/digit-files.js'
import { writeFirstBlock } from '../support/digits.js'
import { temporaryFolder } from '../support/folder.js'

const BENCH = resolve(__dirname, '../../bench/ablation.mjs')
/** Of those that the bench knows; a smaller model stands in for it. */
const MODEL = 'vit-tiny-imagenet'
const folder = temporaryFolder()

beforeAll(async () => {
  await writeDigits(join(folder.path, 'imagenet-like/calibration'), 'train', 1)
  await writeDigits(join(folder.path, 'imagenet-like/test'), 'test', 2)
  mkdirSync(join(folder.path, 'zoo'))
  await writeFirstBlock(join(folder.path, 'zoo', MODEL))
})

const run = (...args: string[]) =>
  spawnSync(process.execPath, [BENCH, ...args], { encoding: 'utf8', env: { ...process.env, FEWBIT_SHARED: folder.path } })

interface Row {
  setting: string
  without: string
  drop: number
  divergence: number
}

it('measures the preset, then without each part that is asked for, but without none that has nothing to do', () => {
  const { status, stdout, stderr } = run('--model', MODEL, '--without', 'sequence,o2sf', '--json')
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' })
  const rows: Row[] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const partial = ['', 'sequence'].map((without) => ['partial, W4A4', without])
  const full = ['', 'sequence', 'o2sf'].map((without) => ['fully quantized, average 4', without])
  expect(rows.map(({ setting, without }) => [setting, without])).toEqual([...partial, ...full])
  for (const row of rows) {
    expect(row).toMatchObject({ bench: 'ablation', model: MODEL, draws: 1, drop: expect.any(Number) })
    expect(row.divergence).toBeGreaterThan(0)
  }
})

it('says what each part does, and which models it does not find', () => {
  const { status, stdout } = run('--setting', 'partial', '--without', 'compensation')
  expect(status).toBe(0)
  expect(stdout).toMatch(/^vit-cifar10: skipped, .*zoo\/vit-cifar10, .*cifar10.* not found$/m)
  expect(stdout).toMatch(/^vit-tiny-imagenet, partial, W4A4: float .* on 20 images of imagenet-like\/test; mean of 1 draw/m)
  expect(stdout).toMatch(/^best +\d\.\d{4} +\+0 % /m)
  expect(stdout).toMatch(
    /^without compensation +\d\.\d{4} +[+-]\d+ % +-?\d+\.\d\d +[+-]\d+\.\d\d +(helps|harms|hardly matters|does nothing) /m,
  )
})
