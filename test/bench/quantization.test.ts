import { benchOnDigits, BENCH_MODEL as MODEL } from '../support/bench-tree.js'

const SETTING = 'partial, W4A4'
const bench = benchOnDigits('quantization.mjs')
const run = (...args: string[]) => bench('--model', MODEL, '--draws', '1', ...args)

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
