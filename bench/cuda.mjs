// The CUDA kernels of a transformer's block: `npm run bench:cuda`. On a GPU it measures times, and those of whole models. On a simulator of the driver, which has
// no time, it takes counters of whole launches; those, and what the compiler says about registers, are written to docs/cuda.md.
//
//   --check     compare with the limits below, write nothing, and exit with 1 when one is broken (on a simulator only)
//   --only=...  a part of "<model> <op> <bits>"
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readCommandLine } from './runner.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = join(root, 'build', 'cuda')
const { values: options } = readCommandLine({ check: { type: 'boolean' }, only: { type: 'string', default: '' } })

/** Multiply-adds a warp instruction, at least: of the four linear layers of a block by bits of a weight, and of attention. */
const PRODUCTS = { linear: { 8: 900, 5: 650, 4: 750 }, attention: 250 }
/** Of the multiprocessors, by whole waves of blocks; of several launches, each for the time that it is estimated to take. */
const BUSY = 0.6
/** Bytes asked for, of those in the sectors touched: where rows are whole sectors, and where they are not. */
const EFFICIENCY = { whole: 0.95, odd: 0.85 }
/** Cycles of bank conflicts a request of shared memory. */
const CONFLICTS = 0.02
/** Distinct bytes read and written, of those of the tensors. */
const TRAFFIC = 1.05

/** Dense int8 operations and bytes a second; multiprocessors, and their cycles a second. From the vendor's data sheets. */
const GPUS = {
  A100: { operations: 624e12, bytes: 1555e9, multiprocessors: 108, clock: 1.41e9 },
  L4: { operations: 242e12, bytes: 300e9, multiprocessors: 58, clock: 2.04e9 },
  'RTX 4090': { operations: 660.6e12, bytes: 1008e9, multiprocessors: 128, clock: 2.52e9 },
  H100: { operations: 1979e12, bytes: 3350e9, multiprocessors: 132, clock: 1.83e9 },
}
const SCHEDULERS = 4

function run(command, args, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: { ...process.env, ...env },
  })
  if (status !== 0) throw new Error(`${command} ${error ?? `exited with ${status}`}\n${stdout}${stderr}`)
  return { stdout, stderr }
}

const lines = (text) =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))

/** One launch each, with the counters of a simulator where it is one. */
function launches() {
  run('cmake', ['-S', root, '-B', folder, '-G', 'Ninja', '-DFEWBIT_CUDA_ARCHITECTURES=', '-DCMAKE_BUILD_TYPE=Release'])
  run('cmake', ['--build', folder, '--target', 'fewbit_cuda_bench'])
  const report = join(folder, 'counters.json')
  rmSync(report, { force: true })
  const { stdout } = run(join(folder, 'fewbit_cuda_bench'), [options.only], { PTXSIM_REPORT: report })
  const [{ device, multiprocessors }, ...all] = lines(stdout)
  if (!existsSync(report)) return { device, multiprocessors, simulated: false, all }
  const counters = lines(readFileSync(report, 'utf8'))
  return { device, multiprocessors, simulated: true, all: all.map((launch, i) => ({ ...launch, counters: counters[i] })) }
}

/** What there is between the whole waves that the blocks need and the blocks. */
const busy = (blocks, multiprocessors) => blocks / (Math.ceil(blocks / multiprocessors) * multiprocessors)

function derived(launch, multiprocessors) {
  const c = launch.counters
  return {
    ...launch,
    instructions: c.warp_instructions,
    productsAnInstruction: launch.products / c.warp_instructions,
    busy: busy(launch.blocks, multiprocessors),
    loads: c.global_load.efficiency,
    stores: c.global_store.efficiency,
    conflicts: c.shared_requests ? c.bank_conflict_cycles / c.shared_requests : 0,
    traffic: (c.distinct_bytes_read + c.distinct_bytes_written) / launch.bytes,
    padding: c.macs_tensor ? c.macs_tensor / launch.products : 1,
  }
}

/** The device that the simulator has, whose multiprocessors tiles are chosen for. */
const SIMULATED = GPUS.A100
/** Seconds of a launch at least. */
const estimate = (k, gpu) => Math.max(...Object.values(bounds(k, gpu)))

const isLinear = ({ op }) => ['qkv', 'projection', 'fc1', 'fc2'].includes(op)
const sum = (list, of) => list.reduce((total, each) => total + of(each), 0)

/** The four linear layers of a block together, for each model and width of weights. */
function blocksOf(kernels) {
  const groups = new Map()
  for (const kernel of kernels.filter(isLinear)) {
    const name = `${kernel.model}, weights of ${kernel.bits} bits`
    groups.set(name, [...(groups.get(name) ?? []), kernel])
  }
  return [...groups].map(([name, list]) => ({
    name,
    least: list[0].model.includes('codes of 4 bits') ? 0 : PRODUCTS.linear[list[0].bits],
    whole: list.length === 4,
    productsAnInstruction: sum(list, (k) => k.products) / sum(list, (k) => k.instructions),
    // Of the time that they take.
    busy: sum(list, (k) => k.busy * estimate(k, SIMULATED)) / sum(list, (k) => estimate(k, SIMULATED)),
  }))
}

/** What breaks a limit, as sentences. */
function broken(kernels) {
  const found = []
  const want = (holds, sentence) => holds || found.push(sentence)
  for (const k of kernels) {
    const name = `${k.model}, ${k.op}, ${k.bits} bits (${k.kernel})`
    want(!k.counters.faulted, `${name}: the launch failed`)
    const odd = k.model.includes('odd')
    const efficiency = odd ? EFFICIENCY.odd : EFFICIENCY.whole
    want(k.loads >= efficiency && k.stores >= efficiency, `${name}: efficiency of loads ${k.loads} and stores ${k.stores}`)
    want(k.conflicts < CONFLICTS, `${name}: ${k.conflicts} cycles of bank conflicts a request`)
    want(k.traffic <= TRAFFIC, `${name}: ${k.traffic} times the bytes of its tensors`)
    want(k.counters.macs_tensor >= k.products || k.kernel.includes('simple'), `${name}: products outside of tensor cores`)
    if (['attention', 'attention of two scales'].includes(k.op))
      want(k.productsAnInstruction >= PRODUCTS.attention, `${name}: ${k.productsAnInstruction} products an instruction`)
  }
  for (const block of blocksOf(kernels).filter(({ whole }) => whole)) {
    want(
      block.productsAnInstruction >= block.least,
      `${block.name}: ${block.productsAnInstruction} products an instruction, not ${block.least}`,
    )
    want(block.busy >= BUSY, `${block.name}: ${block.busy} of the multiprocessors are busy`)
  }
  return found
}

/** The architectures that the package has machine code for. */
const ARCHITECTURES = [80, 86, 89, 90, 100, 120]

/** Registers and spills of every kernel on every architecture, from the compiler. */
function resources() {
  const sources = readdirSync(join(root, 'cuda', 'kernels')).filter((file) => file.endsWith('.cu'))
  const targets = ARCHITECTURES.map((each) => `--generate-code=arch=compute_${each},code=sm_${each}`)
  const table = []
  for (const source of sources) {
    const args = ['-std=c++17', '-O3', '--fmad=false', '--expt-relaxed-constexpr', ...targets, '-fatbin', '-Xptxas', '-v']
    const { stderr } = run('nvcc', [...args, '-I.', '-Inative', `cuda/kernels/${source}`, '-o', join(folder, `${source}.fatbin`)])
    const pattern =
      /Compiling entry function '(\w+)' for 'sm_(\d+)'[\s\S]*?(\d+) bytes stack frame, (\d+) bytes spill stores[\s\S]*?Used (\d+) registers/g
    for (const [, kernel, architecture, stack, spills, registers] of stderr.matchAll(pattern))
      table.push({
        kernel,
        architecture: Number(architecture),
        stack: Number(stack),
        spills: Number(spills),
        registers: Number(registers),
      })
  }
  return table
}

/** Warps that a multiprocessor of compute capability 8.0 holds, of 64: by registers, shared memory and blocks. */
function occupancy({ threads, shared }, registers) {
  const warps = threads / 32
  const byRegisters = Math.floor(65536 / (Math.ceil((registers * 32) / 256) * 256 * warps))
  const byShared = Math.floor((164 * 1024) / (shared + 1024))
  return (Math.min(byRegisters, byShared, 32, Math.floor(64 / warps)) * warps) / 64
}

const table = (head, rows) => [head, head.map((_, i) => (i ? '---:' : '---')), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
const percent = (x) => `${(100 * x).toFixed(0)} %`
const micro = (seconds) => (seconds * 1e6).toFixed(1)

/** Lower bounds of a launch's time on a GPU: products with padding, bytes, instructions; those of computation on the busy part. */
function bounds(k, gpu) {
  const share = busy(k.blocks, gpu.multiprocessors)
  return {
    products: (2 * k.products * k.padding) / (gpu.operations * share),
    bytes: k.bytes / gpu.bytes,
    instructions: k.instructions / (gpu.multiprocessors * SCHEDULERS * gpu.clock * share),
  }
}

/** Seconds at the peaks of products and of memory, for launches whose instructions nobody has counted. */
const leastTime = ({ products, bytes }, gpu) => Math.max((2 * products) / gpu.operations, bytes / gpu.bytes)

function roofline(kernels) {
  const ops = ['attention', 'attention of two scales', 'LayerNorm', 'qkv', 'projection', 'fc1', 'fc2']
  const block = kernels.filter((k) => k.model === 'DeiT-Small' && k.bits === 8 && ops.includes(k.op))
  const rows = block.map((k) => [
    k.op,
    ...Object.values(GPUS).map((gpu) => {
      const all = bounds(k, gpu)
      const [name] = Object.keys(all)
        .reduce((a, b) => (all[a] > all[b] ? a : b))
        .split(' ')
      return `${micro(Math.max(...Object.values(all)))} (${name})`
    }),
  ])
  const times = { LayerNorm: 2 }
  rows.push([
    'a block',
    ...Object.values(GPUS).map((gpu) =>
      micro(
        sum(
          block.filter((k) => !k.op.includes(' ')),
          (k) => (times[k.op] ?? 1) * estimate(k, gpu),
        ),
      ),
    ),
  ])
  const example = block.find((k) => k.op === 'fc1')
  const gpu = GPUS.A100
  const share = busy(example.blocks, gpu.multiprocessors)
  const all = bounds(example, gpu)
  return `${table(['DeiT-Small, 8 images, weights of 8 bits: microseconds', ...Object.keys(GPUS)], rows)}

The bound of a launch is the largest of three times: of its products at the peak of dense int8, of its tensors' bytes at the memory's peak, and of its warp
instructions at ${SCHEDULERS} a cycle and multiprocessor. Computation is taken to run on those multiprocessors that whole waves of blocks keep busy. For fc1 on an A100:

- products: 2 x ${example.products} x ${example.padding.toFixed(3)} (padding) / (${gpu.operations.toExponential(3)} x ${share.toFixed(2)}) = ${micro(all.products)} us
- bytes: ${example.bytes} / ${gpu.bytes.toExponential(3)} = ${micro(all.bytes)} us
- instructions: ${example.instructions} / (${gpu.multiprocessors} x ${SCHEDULERS} x ${gpu.clock.toExponential(2)} x ${share.toFixed(2)}) = ${micro(all.instructions)} us

The counters are those of the tiles chosen for ${GPUS.A100.multiprocessors} multiprocessors; other devices choose for theirs. On an H100 \`mma.sync\` reaches about two thirds of the
peak, which belongs to \`wgmma\`.`
}

function documentation(kernels, compiled) {
  const own = compiled.filter(({ architecture }) => architecture === ARCHITECTURES[0])
  const registers = new Map(own.map((each) => [each.kernel, each.registers]))
  const spilled = compiled.filter(({ stack, spills }) => stack || spills)
  const counters = kernels.map((k) => [
    `${k.model}, ${k.op}`,
    k.bits,
    `\`${k.kernel.replace('fewbit_', '')}\``,
    k.products ? k.productsAnInstruction.toFixed(0) : '',
    percent(k.busy),
    k.padding.toFixed(2),
    k.loads.toFixed(2),
    k.stores.toFixed(2),
    k.conflicts.toFixed(3),
    k.traffic.toFixed(3),
    registers.get(k.kernel) ?? '',
    registers.has(k.kernel) ? percent(occupancy(k, registers.get(k.kernel))) : '',
  ])
  const head = [
    'launch',
    'bits',
    'kernel',
    'products an instruction',
    'busy',
    'padding',
    'loads',
    'stores',
    'conflicts',
    'traffic',
    'registers',
    'occupancy',
  ]
  const blocks = blocksOf(kernels).map((b) => [b.name, b.productsAnInstruction.toFixed(0), b.least || '', percent(b.busy)])
  return `${table(['the four linear layers of a block', 'products a warp instruction', 'wanted', 'busy'], blocks)}

${table(head, counters)}

${spilled.length ? `Spills or local memory: ${spilled.map(({ kernel, architecture }) => `\`${kernel}\` on sm_${architecture}`).join(', ')}.` : `None of the ${own.length} kernels spills registers or has local memory on sm_${ARCHITECTURES.join(', ')}.`}

### Roofline

${roofline(kernels)}
`
}

/** Replaces what stands between two marks of docs/cuda.md. */
function write(text) {
  const file = join(root, 'docs', 'cuda.md')
  const [begin, end] = ['<!-- counters -->', '<!-- end of counters -->']
  const old = readFileSync(file, 'utf8')
  const [from, to] = [old.indexOf(begin), old.indexOf(end)]
  if (from < 0 || to < 0) throw new Error(`${file} has no place for counters: ${begin} ... ${end}`)
  writeFileSync(file, `${old.slice(0, from + begin.length)}\n\n${text}\n${old.slice(to)}`)
  console.log(`wrote ${file}`)
}

mkdirSync(folder, { recursive: true })
const { device, multiprocessors, simulated, all } = launches()
console.log(`${device}, ${multiprocessors} multiprocessors; compiled on ${cpus()[0]?.model ?? 'an unknown processor'}`)
if (simulated) {
  const kernels = all.map((launch) => derived(launch, multiprocessors))
  for (const k of kernels)
    console.log(
      `${k.model}, ${k.op}, ${k.bits} bits: ${k.productsAnInstruction.toFixed(1)} products an instruction, ${percent(k.busy)} busy (${basename(k.kernel)})`,
    )
  for (const block of blocksOf(kernels))
    console.log(`${block.name}: ${block.productsAnInstruction.toFixed(1)} products an instruction, ${percent(block.busy)} busy`)
  const found = broken(kernels)
  for (const sentence of found) console.error(sentence)
  if (options.check) process.exitCode = found.length ? 1 : 0
  else if (!options.only) write(documentation(kernels, resources()))
} else {
  const [name, gpu] = Object.entries(GPUS).find(([name]) => new RegExp(`\\b${name}\\b`).test(device)) ?? []
  for (const launch of all) {
    const { model, op, bits, products, bytes, milliseconds } = launch
    const rates = `${((2e-9 * products) / milliseconds).toFixed(1)} TOP/s, ${((1e-6 * bytes) / milliseconds).toFixed(0)} GB/s`
    const share = gpu ? `, ${percent((1e3 * leastTime(launch, gpu)) / milliseconds)} of the roofline of ${name}` : ''
    console.log(`${model}, ${op}, ${bits} bits: ${micro(milliseconds / 1e3)} us, ${rates}${share}`)
  }
  if (!options.only) await (await import('./cuda-models.mjs')).raceModels()
}
