// Accuracy of quantized models on real images, with the limits that must hold.
//   node bench/quantization.mjs                   all models and rows, mean of three draws of calibration images
//   node bench/quantization.mjs --draws 1 --model vit-cifar10 --rows best
//   node bench/quantization.mjs --rows 'partial, W4A4'        rows whose names contain that: here of all presets
//   node bench/quantization.mjs --check           four rows of the smallest model only; the exit code tells whether the limits hold
// The checkpoints and images are not part of the repository; they are looked for in the folder that FEWBIT_SHARED names, default ../shared:
//   zoo/vit-cifar10, zoo/swin-cifar10, zoo/vit-tiny-imagenet     checkpoints, as folders of the Hugging Face hub
//   cifar10/                                                     CIFAR-10 in its binary form: data_batch_*.bin to calibrate, test_batch.bin to test
//   imagenet-like/calibration, imagenet-like/test                photographs of ImageNet's classes, each folder as `fewbit eval --data` takes it
// What is not there is skipped, with a line that says so.
import { join } from 'node:path'
import { load } from '../dist/esm/index.js'
import { formatBytes, formatPercent } from '../dist/esm/report/terminal.js'
import { evaluate, MODELS, meanOf, measureQuantized, modelsOf, readImages } from './accuracy.mjs'
import { Bench, missing, misused, SHARED, say } from './runner.mjs'

/** Percentage points of top-1. */
const CIFAR_LIMITS = { partial8: 0.3, 'partial4.5': 2, full8: 0.2, full5: 0.7, 'full3.5': 3, partial4: 1.5 }
const LIMITS = {
  'vit-cifar10': CIFAR_LIMITS,
  'swin-cifar10': CIFAR_LIMITS,
  'vit-tiny-imagenet': { partial8: 0.5, 'partial4.5': 5, full8: 0.5, full5: 2, partial4: 8 },
}
/** `limit` names the entry of a model's limits. */
const ROWS = [
  { name: 'best, partial, W8A8', limit: 'partial8', preset: 'best', coverage: 'partial', bits: 8 },
  { name: 'best, partial, average 4.5', limit: 'partial4.5', preset: 'best', coverage: 'partial', averageBits: 4.5 },
  { name: 'best, fully quantized, 8 bits', limit: 'full8', preset: 'best', coverage: 'full', bits: 8 },
  { name: 'best, fully quantized, average 5', limit: 'full5', preset: 'best', coverage: 'full', averageBits: 5 },
  { name: 'best, fully quantized, average 4', preset: 'best', coverage: 'full', averageBits: 4 },
  { name: 'best, fully quantized, average 3.5', limit: 'full3.5', preset: 'best', coverage: 'full', averageBits: 3.5 },
  { name: 'best, partial, W4A4', limit: 'partial4', preset: 'best', coverage: 'partial', bits: 4 },
  { name: 'mptq, fully quantized, average 4', preset: 'mptq', coverage: 'full', averageBits: 4 },
  { name: 'mptq, partial, W4A4', preset: 'mptq', coverage: 'partial', bits: 4 },
  { name: 'tsptq, partial, W4A4', preset: 'tsptq', coverage: 'partial', bits: 4 },
  { name: 'minmax, fully quantized, 8 bits', preset: 'minmax', coverage: 'full', bits: 8 },
  { name: 'minmax, partial, W4A4', preset: 'minmax', coverage: 'partial', bits: 4 },
]
const QUICK = ['best, partial, W8A8', 'best, partial, average 4.5', 'best, fully quantized, 8 bits', 'best, fully quantized, average 3.5']

/** Settings in which `best` is held against `mptq`, where a run has both. */
const COMPARED = ['partial, W4A4', 'fully quantized, average 4']
/** Of the KL of `mptq`, and of its drop where that is {@link LEAST_DROP} or more, `best` has this much at most. */
const MOST_OF_MPTQ = 0.5
/** Percentage points: a smaller drop wanders too much for a ratio. */
const LEAST_DROP = 1

/** Whose means over the draws make a row. */
const MEASURED = ['top1', 'drop', 'divergence', 'weightBits', 'activationBits', 'bytes', 'seconds']

const bench = new Bench('quantization', {
  ...{ check: { type: 'boolean' }, draws: { type: 'string', default: '3' }, model: { type: 'string' }, rows: { type: 'string' } },
})
const { args } = bench
const draws = args.check ? 1 : bench.whole('draws')
const models = args.check ? MODELS.slice(0, 1) : modelsOf(bench)
const rows = ROWS.filter(({ name }) => (args.check ? QUICK.includes(name) : !args.rows || name.includes(args.rows)))
if (rows.length === 0)
  misused(`--rows '${args.rows}' is part of the name of no row; the rows are ${ROWS.map(({ name }) => `'${name}'`).join(', ')}`)

let broken = false
for (const model of models) {
  const absent = missing([join('zoo', model.name), model.calibrate, model.test])
  if (absent.length > 0) {
    bench.print(`${model.name}: skipped, ${absent.join(', ')} not found`)
    continue
  }
  broken = (await measure(model)) || broken
}
if (broken) process.exitCode = 1

/** Prints the table of one model and returns whether a limit is broken. */
async function measure({ name, calibrate, test }) {
  const float = await load(join(SHARED, 'zoo', name))
  try {
    const data = await readImages(float, join(SHARED, test))
    const reference = await evaluate(float, data)
    bench.print(
      `\n${name}: float ${formatPercent(reference.top1)} on ${data.labels.length} images of ${test}; mean of ${draws} draw(s) of calibration images from ${calibrate}\n`,
    )
    const lines = []
    for (const { name: row, limit, ...options } of rows) {
      const found = []
      for (let seed = 0; seed < draws; seed++) {
        say(`${name}: ${row}, draw ${seed + 1}`)
        found.push(await measureQuantized(float, reference, { ...options, calibrate: join(SHARED, calibrate), seed }, data))
      }
      const means = meanOf(found, MEASURED)
      lines.push(bench.row({ model: name, contestant: row, limit: LIMITS[name][limit], draws, spread: spread(found), ...means }))
    }
    show(lines)
    const ratios = compare(name, lines)
    for (const { setting, divergence, drop, broken } of ratios) {
      const dropText = drop === undefined ? '' : `, of its drop ${drop.toFixed(2)}`
      bench.print(`best has of mptq's KL ${divergence.toFixed(2)}${dropText} (${setting}; limit ${MOST_OF_MPTQ})${broken ? ' BROKEN' : ''}`)
    }
    return lines.some(isBroken) || ratios.some(({ broken }) => broken)
  } finally {
    float.dispose()
  }
}

function spread(found) {
  const drops = found.map(({ drop }) => drop)
  return Math.max(...drops) - Math.min(...drops)
}

function isBroken({ limit, drop }) {
  return limit !== undefined && drop > limit
}

/**
 * A row for each of {@link COMPARED} that was measured: what `best` has of the KL and of the drop of `mptq`, and whether that is too much.
 */
function compare(model, lines) {
  const at = (preset, setting) => lines.find(({ contestant }) => contestant === `${preset}, ${setting}`)
  const measured = COMPARED.filter((setting) => at('best', setting) && at('mptq', setting))
  return measured.map((setting) => {
    const [best, mptq] = [at('best', setting), at('mptq', setting)]
    const divergence = best.divergence / mptq.divergence
    const drop = mptq.drop < LEAST_DROP ? undefined : best.drop / mptq.drop
    const broken = [divergence, drop].some((ratio) => ratio > MOST_OF_MPTQ)
    return bench.row({ model, contestant: 'best / mptq', setting, divergence, drop, limit: MOST_OF_MPTQ, broken })
  })
}

function show(lines) {
  bench.table(
    {
      model: ({ contestant }) => contestant,
      'top-1': ({ top1 }) => formatPercent(top1),
      drop: ({ drop }) => drop.toFixed(2),
      spread: (line) => line.spread.toFixed(2),
      limit: (line) => (line.limit === undefined ? '' : `${line.limit.toFixed(1)}${isBroken(line) ? ' BROKEN' : ''}`),
      'KL to float': ({ divergence }) => divergence.toFixed(4),
      weights: ({ weightBits }) => `${weightBits.toFixed(2)} bits`,
      activations: ({ activationBits }) => `${activationBits.toFixed(2)} bits`,
      file: ({ bytes }) => formatBytes(bytes),
      'quantized in': ({ seconds }) => `${seconds.toFixed(0)} s`,
    },
    lines,
  )
}
