// Matrix products of DeiT-Small on one thread: the kernels of every path beside oneDNN (Debian: libdnnl-dev) where it is installed, and beside the peak of
// the core. Builds bench/native with cmake.
//   node bench/gemm.mjs [--path avx512vnni [--shape 'one row']]
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { devices } from '../dist/esm/index.js'
import { Bench, machine, machineText, misused, say } from './runner.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const build = join(root, 'build', 'bench')
const bench = new Bench('gemm', { path: { type: 'string' }, shape: { type: 'string' } })
const paths = devices().filter(({ path, runs }) => path !== null && runs)
bench.among(
  'path',
  paths.map(({ path }) => path),
)
if (bench.args.shape !== undefined && bench.args.path === undefined) misused('--shape needs --path')

const program = compile()
say('timing')
const { stdout, status } = spawnSync(program, [bench.args.path, bench.args.shape].filter(Boolean), {
  encoding: 'utf8',
  env: { ...process.env, OMP_NUM_THREADS: '1' },
  stdio: ['ignore', 'pipe', 'inherit'],
})
if (status !== 0) throw new Error(`${program} failed`)
if (stdout === '') misused(`--shape must be one of those in bench/native/linear_bench.cpp, not ${bench.args.shape}`)
for (const line of stdout.trim().split('\n')) bench.row(JSON.parse(line))

bench.print(`${machineText(machine())}, one thread`)
if (!bench.rows.some(({ who }) => who === 'oneDNN')) bench.print('oneDNN is not installed (Debian: libdnnl-dev)')
for (const shape of new Set(bench.rows.map(({ shape }) => shape))) {
  const rows = bench.rows.filter((row) => row.shape === shape)
  const [{ rows: m, inputs, outputs }] = rows
  bench.print(`\n${shape}: ${m} x ${inputs} x ${outputs} = ${((2 * m * inputs * outputs) / 1e6).toFixed(1)} MOP`)
  bench.table(
    {
      kernel: ({ who, weights }) => `${who}, ${weights}`,
      'median us': ({ microseconds }) => microseconds.toFixed(1),
      'TOP/s': ({ operationsPerSecond }) => (operationsPerSecond / 1e12).toFixed(3),
      'of the peak': ({ operationsPerSecond, peak }) => `${((100 * operationsPerSecond) / peak).toFixed(0)} %`,
      'GB/s of weights': ({ weights, microseconds }) => ((inputs * outputs * bitsOf(weights)) / 8e3 / microseconds).toFixed(1),
      peak: ({ peak }) => (peak / 1e12).toFixed(3),
    },
    rows,
  )
}

function bitsOf(weights) {
  return weights === 'float' ? 32 : Number.parseInt(weights, 10)
}

function compile() {
  for (const args of [
    ['-S', root, '-B', build, '-DCMAKE_BUILD_TYPE=Release'],
    ['--build', build, '--target', 'fewbit_linear_bench', '--parallel', '2'],
  ]) {
    const { status, stderr } = spawnSync('cmake', args, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] })
    if (status !== 0) throw new Error(`cmake ${args.join(' ')} failed:\n${stderr}`)
  }
  return join(build, 'fewbit_linear_bench')
}
