// Accuracy of quantized models on real images: float, 8 bits, 4.5 bits on average, with the limits that must hold.
//   node bench/quantization.mjs           all models
//   node bench/quantization.mjs --check   the smaller one only; the exit code tells whether the limits hold
// The checkpoints and images are not part of the repository; they are looked for in ../shared.
import { existsSync } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { load, quantize } from '../dist/esm/index.js'
import { formatBytes, formatMs, formatPercent, table } from '../dist/esm/report/terminal.js'

const SHARED = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'shared')
const SEED = 0
const TASKS = [
  {
    checkpoint: 'zoo/vit-cifar10',
    calibrate: 'cifar10',
    test: 'cifar10/test_batch.bin',
    limits: { W8A8: 0.3, '4.5 bits': 2 },
    quick: true,
  },
  {
    checkpoint: 'zoo/swin-cifar10',
    calibrate: 'cifar10',
    test: 'cifar10/test_batch.bin',
    limits: { W8A8: 0.3, '4.5 bits': 2 },
    quick: false,
  },
  {
    checkpoint: 'zoo/vit-tiny-imagenet',
    calibrate: 'imagenet-like/calibration',
    test: 'imagenet-like/test',
    limits: { W8A8: 0.5, '4.5 bits': 5 },
    quick: false,
  },
]
const VARIANTS = [
  { name: 'W8A8', bits: 8 },
  { name: '4.5 bits', averageBits: 4.5 },
]

const check = process.argv.includes('--check')
const say = (text) => process.stderr.write(`${text}\n`)

let broken = false
for (const task of TASKS.filter(({ quick }) => quick || !check)) {
  const missing = [task.checkpoint, task.calibrate, task.test].filter((path) => !existsSync(join(SHARED, path)))
  if (missing.length > 0) {
    console.log(`${task.checkpoint}: skipped, ${missing.map((path) => join('..', 'shared', path)).join(', ')} not found`)
    continue
  }
  broken = (await measure(task)) || broken
}
if (broken) process.exitCode = 1

/** Prints the table of one model and returns whether a limit is broken. */
async function measure({ checkpoint, calibrate, test, limits }) {
  const folder = await mkdtemp(join(tmpdir(), 'fewbit-bench-'))
  const float = await load(join(SHARED, checkpoint))
  try {
    say(`${checkpoint}: float`)
    const reference = await float.evaluate(join(SHARED, test))
    const { size } = await stat(join(SHARED, checkpoint, 'model.safetensors'))
    const rows = [['float', reference, size, null, null]]
    for (const { name, ...bits } of VARIANTS) {
      say(`${checkpoint}: ${name}`)
      const start = performance.now()
      const small = await quantize(float, { calibrate: join(SHARED, calibrate), seed: SEED, ...bits })
      const seconds = (performance.now() - start) / 1000
      const file = join(folder, 'model.fewbit')
      const { bytes } = await small.save(file)
      small.dispose()
      const model = await load(file)
      rows.push([name, await model.evaluate(join(SHARED, test)), bytes, seconds, limits[name]])
      model.dispose()
    }
    const drop = (result) => 100 * (reference.top1 - result.top1)
    console.log(`\n${checkpoint}: ${reference.images} images of ${test}, calibrated on ${calibrate}, seed ${SEED}\n`)
    console.log(
      table(
        [
          { title: 'model' },
          { title: 'top-1', align: 'right' },
          { title: 'top-5', align: 'right' },
          { title: 'drop', align: 'right' },
          { title: 'limit', align: 'right' },
          { title: 'file', align: 'right' },
          { title: 'an image', align: 'right' },
          { title: 'quantized in', align: 'right' },
        ],
        rows.map(([name, result, bytes, seconds, limit]) => [
          name,
          formatPercent(result.top1),
          formatPercent(result.top5),
          limit === null ? '' : drop(result).toFixed(2),
          limit === null ? '' : `${limit.toFixed(1)}${drop(result) > limit ? ' BROKEN' : ''}`,
          formatBytes(bytes),
          formatMs(result.msPerImage),
          seconds === null ? '' : `${seconds.toFixed(1)} s`,
        ]),
      ),
    )
    return rows.some(([, result, , , limit]) => limit !== null && drop(result) > limit)
  } finally {
    float.dispose()
    await rm(folder, { recursive: true, force: true })
  }
}
