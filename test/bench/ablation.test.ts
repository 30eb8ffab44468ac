import { benchOnDigits, BENCH_MODEL as MODEL } from '../support/bench-tree.js'

const run = benchOnDigits('ablation.mjs')

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
