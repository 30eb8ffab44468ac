import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { writeDigits } from '../support/digit-files.js'
import { writeFirstBlock } from '../support/digits.js'
import { temporaryFolder } from '../support/folder.js'

const BENCH = resolve(__dirname, '../../bench/quantization.mjs')
/** Of those that the bench knows; a smaller model stands in for it. */
const MODEL = 'vit-tiny-imagenet'
const SETTING = 'partial, W4A4'
const folder = temporaryFolder()

beforeAll(async () => {
  await writeDigits(join(folder.path, 'imagenet-like/calibration'), 'train', 1)
  await writeDigits(join(folder.path, 'imagenet-like/test'), 'test', 2)
  mkdirSync(join(folder.path, 'zoo'))
  await writeFirstBlock(join(folder.path, 'zoo', MODEL))
})

const run = (...args: string[]) => {
  const argv = [BENCH, '--model', MODEL, '--draws', '1', ...args]
  return spawnSync(process.execPath, argv, { encoding: 'utf8', env: { ...process.env, FEWBIT_SHARED: folder.path } })
}

interface Row {
  contestant: string
  setting?: string
  drop?: number
  divergence: number
  limit?: number
  broken?: boolean
}

it('holds best against mptq where a run has both, and fails where a limit is broken', () => {
  const { status, stdout, stderr } = run('--rows', SETTING, '--json')
  const rows: Row[] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const of = (preset: string) => rows.find(({ contestant }) => contestant === `${preset}, ${SETTING}`) as Row & { drop: number }
  expect({ contestants: rows.map(({ contestant }) => contestant), stderr: rows.length === 5 ? '' : stderr }).toEqual({
    contestants: [...['best', 'mptq', 'tsptq', 'minmax'].map((preset) => `${preset}, ${SETTING}`), 'best / mptq'],
    stderr: '',
  })
  const [best, mptq] = [of('best'), of('mptq')]
  const ratios = { divergence: best.divergence / mptq.divergence, drop: mptq.drop >= 1 ? best.drop / mptq.drop : undefined }
  const broken = ratios.divergence > 0.5 || (ratios.drop ?? 0) > 0.5
  expect(rows[4]).toMatchObject({ setting: SETTING, limit: 0.5, broken })
  expect(rows[4].divergence).toBeCloseTo(ratios.divergence, 12)
  expect(rows[4].drop).toEqual(ratios.drop === undefined ? undefined : expect.closeTo(ratios.drop, 12))
  expect(status).toBe(broken || best.drop > (best.limit as number) ? 1 : 0)
})

it('says nothing of mptq where it was not measured', () => {
  const { stdout } = run('--rows', `best, ${SETTING}`)
  expect(stdout).toContain(`best, ${SETTING}`)
  expect(stdout).not.toContain('mptq')
})
