// The race: fewbit beside onnxruntime-node on the same models, which fewbit exports for it. Runs are interleaved.
//   node bench/bench.mjs                                        all of it, about an hour
//   node bench/bench.mjs --model deit-small --batch 1 --threads 1
//   --seconds N    for each comparison (default 30)
// Weights of architectures are random, and so is the input: times do not depend on them. The checkpoint and
// the images that calibrate it are looked for where quantization.mjs looks for them (FEWBIT_SHARED).
import { join } from 'node:path'
import { noiseImages } from '../dist/esm/images/noise.js'
import { exportOnnx, load, quantize, randomModel } from '../dist/esm/index.js'
import { randomValues } from '../dist/esm/random.js'
import { measurePeaks } from '../dist/esm/runtime/peaks.js'
import { QUANTIZED, quantizedSoon } from './quantized.mjs'
import { loadRival, rivalSession, runRival } from './rival.mjs'
import { Bench, interleave, machine, machineText, missing, SHARED, say } from './runner.mjs'

const MODELS = ['vit-tiny-imagenet', 'deit-small', 'vit-base', 'swin-tiny']
const CHECKPOINT = 'vit-tiny-imagenet'
const CALIBRATION = 'imagenet-like/calibration'
const BATCHES = [1, 8]
const THREADS = [1, 2]
const FORMATS = ['float', 'int8-dynamic', 'int8-qdq']
/** Logits of float models agree that far, as a share of the largest. */
const TOLERANCE = 1e-4
const CALIBRATION_IMAGES = 16

const option = { type: 'string', multiple: true }
const bench = new Bench('race', { model: option, batch: option, threads: option, seconds: { type: 'string', default: '30' } })
const [names, batches, counts] = [bench.among('model', MODELS), bench.among('batch', BATCHES), bench.among('threads', THREADS)]
const seconds = bench.whole('seconds')
const ort = await loadRival()

bench.print(machineText(machine()))
let failed = false
for (const name of names) {
  const absent = name === CHECKPOINT ? missing([join('zoo', CHECKPOINT), CALIBRATION]) : []
  if (absent.length > 0) bench.print(`\n${name}: skipped, ${absent.join(', ')} not found`)
  else failed = !(await race(name)) || failed
}
if (failed) process.exitCode = 1

/** @returns whether the rival computes the same logits */
async function race(name) {
  const { models, sessions, calibrate } = await prepare(name)
  const [{ model: float }] = models
  const macs = float.info().macs
  let agreement = 0
  for (const batch of batches) {
    for (const threads of counts) {
      const { channels, height, width } = float.input
      const pixels = randomValues(batch * channels * height * width, 0)
      const contestants = models.map(({ name, model }) => ({ name, model, run: () => model.run(pixels, batch, { threads }) }))
      for (const format of sessions ? FORMATS : []) {
        const session = await rivalSession(ort, sessions.get(format), threads)
        contestants.push({ name: `onnxruntime ${format}`, session, run: () => runRival(ort, session, pixels, batch, float.input) })
      }
      if (sessions)
        agreement = Math.max(agreement, difference(await contestants[0].run(), await find(contestants, 'onnxruntime float').run()))
      say(`${name}: batch ${batch}, ${threads} thread(s)`)
      const peaks = [await floatPeak()]
      const times = await interleave(contestants, { seconds })
      peaks.push(await floatPeak())
      const rows = contestants.map(({ name: contestant, model }, i) => {
        const { median, min, max, cpu, rounds } = times[i]
        const ms = { msPerImage: median / batch, min: min / batch, max: max / batch, cpuMs: cpu / batch, rounds }
        const { weightBits, activationBits } = model?.info() ?? {}
        return bench.row({ model: name, contestant, batch, threads, ...ms, macs, weightBits, activationBits })
      })
      show(name, batch, threads, rows, threads * Math.max(...peaks))
      for (const { session } of contestants) await session?.release()
    }
  }
  for (const { model } of models) model.dispose()
  if (!sessions) return true
  bench.print(`\n${name}: float logits of both differ by ${agreement.toExponential(1)} of the largest, calibrated on ${calibrate}`)
  return agreement <= TOLERANCE
}

/** Models, and the bytes of the rival's by format. */
async function prepare(name) {
  const real = name === CHECKPOINT
  const float = real ? await load(join(SHARED, 'zoo', name)) : await randomModel(name, { seed: 0 })
  const calibrate = real ? join(SHARED, CALIBRATION) : noiseImages(float.input, CALIBRATION_IMAGES, 0)
  say(`${name}: quantizing`)
  const small = real ? await quantizedWell(float, calibrate) : await quantizedSoon(float)
  const models = [{ name: 'fewbit float', model: float }, ...small]
  if (!ort) return { models, sessions: null }
  const sessions = new Map()
  for (const format of FORMATS) {
    say(`${name}: exporting, ${format}`)
    const calibrated = format === 'int8-qdq' && { calibrate, calibrationImages: CALIBRATION_IMAGES }
    sessions.set(format, await exportOnnx(float, { format, ...calibrated }))
  }
  return { models, sessions, calibrate: real ? CALIBRATION : 'noise' }
}

async function quantizedWell(float, calibrate) {
  const models = []
  for (const [name, averageBits] of Object.entries(QUANTIZED)) {
    const model = await quantize(float, { calibrate, calibrationImages: CALIBRATION_IMAGES, averageBits, allocation: 'even' })
    models.push({ name, model })
  }
  return models
}

/** GFLOP/s of one core. */
async function floatPeak() {
  return (await measurePeaks(machine().path, [1])).floats / 1e9
}

function find(contestants, name) {
  return contestants.find((contestant) => contestant.name === name)
}

function difference(ours, theirs) {
  let [most, largest] = [0, 0]
  for (const [i, value] of ours.entries()) {
    most = Math.max(most, Math.abs(value - theirs[i]))
    largest = Math.max(largest, Math.abs(value))
  }
  return most / largest
}

/**
 * On one thread ratios and rates are of processor time, which other programs do not lengthen; threads that wait by spinning spoil it on
 * more.
 */
function show(name, batch, threads, rows, peak) {
  const ms = (row) => (threads === 1 ? row.cpuMs : row.msPerImage)
  const best = Math.min(...rows.filter(({ contestant }) => /^onnxruntime int8/.test(contestant)).map(ms))
  const float = rows.find(({ contestant }) => contestant === 'onnxruntime float')
  const times = (row, of) => (Number.isFinite(of) ? `${(of / ms(row)).toFixed(2)} x` : '-')
  const [{ rounds, macs }] = rows
  bench.print(`\n${name}, batch ${batch}, ${threads} thread(s), median of ${rounds} interleaved runs, load ${rows[0].load.toFixed(1)}`)
  bench.table(
    {
      model: ({ contestant }) => contestant,
      'ms an image': ({ msPerImage }) => msPerImage.toFixed(2),
      range: ({ min, max }) => `${min.toFixed(2)} .. ${max.toFixed(2)}`,
      'CPU ms': ({ cpuMs }) => cpuMs.toFixed(2),
      'GOP/s': (row) => ((2 * macs) / 1e6 / ms(row)).toFixed(0),
      'against its float': (row) => times(row, float && ms(float)),
      'against its best int8': (row) => times(row, best),
    },
    rows,
  )
  const [first] = rows
  const reached = (2 * macs) / 1e6 / ms(first)
  bench.print(
    `float: ${((2 * macs) / 1e9).toFixed(2)} GOP / ${ms(first).toFixed(2)} ms = ${reached.toFixed(0)} GFLOP/s = ` +
      `${((100 * reached) / peak).toFixed(0)} % of the FMA peak of ${peak.toFixed(0)} (${threads} x what one core does, measured before and after)`,
  )
}
