import { benchOnDigits, BENCH_MODEL as MODEL } from '../support/bench-tree.js'

const run = benchOnDigits('ablation.mjs')

interface Row {
  setting: string
  contestant: string
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
  const partial = ['best', 'without sequence'].map((contestant) => ['partial, W4A4', contestant])
  const full = ['best', 'without sequence', 'without o2sf'].map((contestant) => ['fully quantized, average 4', contestant])
  expect(rows.map(({ setting, contestant }) => [setting, contestant])).toEqual([...partial, ...full])
  for (const row of rows) {
    expect(row).toMatchObject({ bench: 'ablation', model: MODEL, draws: 1, drop: expect.any(Number) })
    expect(row.divergence).toBeGreaterThan(0)
  }
})

it('measures parts of mptq by themselves, too', () => {
  const { status, stdout } = run('--preset', 'mptq', '--setting', 'partial', '--without', 'v2sf,o2sf', '--json', '--model', MODEL)
  expect(status).toBe(0)
  const labels = stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as Row).contestant)
  expect(labels).toEqual(['mptq', 'without v2sf', 'none of search, fisher, v2sf, sq-b, opt-m', 'v2sf alone'])
})

it.each([
  [['--preset', 'tsptq'], '--preset must be best or mptq, not tsptq'],
  [['--preset', 'mptq', '--without', 'refit'], 'mptq has no part refit; its parts are search, fisher, v2sf'],
  [['--model', 'vit'], '--model must be vit-cifar10 or swin-cifar10 or vit-tiny-imagenet, not vit'],
  [['--setting', 'none'], "--setting must begin one of 'partial, W4A4' and 'fully quantized, average 4', not be 'none'"],
  [['--draws', 'two'], '--draws must be a whole number from 1 on, not two'],
])('refuses %j', (options, message) => {
  const { status, stderr } = run(...options)
  expect(status).toBe(2)
  expect(stderr).toMatch(/^[^\n]*\n$/)
  expect(stderr).toContain(message)
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
