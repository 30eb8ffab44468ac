// DeiT-Small 224, batch 1, one thread: float against the FMA peak of the same run, 8 bits and 4.5 bits on average against float.
// Weights and input are random: times do not depend on them. Runs are interleaved, so that a slow phase of the machine hits all.
import { cpus } from 'node:os'
import { noiseImages } from '../dist/esm/images/noise.js'
import { devices, quantize, randomModel } from '../dist/esm/index.js'
import { randomValues } from '../dist/esm/random.js'
import { table } from '../dist/esm/report/terminal.js'
import { measurePeak } from './peak.mjs'

const ARCHITECTURE = 'deit-small'
const ROUNDS = 25
const WARM_UP = 3
const FLOAT_SHARE = 0.4
const SPEED_UP = 4

const say = (text) => process.stderr.write(`${text}\n`)
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1]

const float = await randomModel(ARCHITECTURE, { seed: 0 })
const models = [{ name: 'float', model: float }]
for (const [name, bits] of [
  ['W8A8', { bits: 8 }],
  ['4.5 bits', { averageBits: 4.5 }],
]) {
  say(`quantizing: ${name}`)
  const calibrate = noiseImages(float.input, 4, 0)
  models.push({ name, model: await quantize(float, { calibrate, allocation: 'even', ...bits }) })
}

say('timing')
const peaks = [measurePeak()]
const { channels, height, width } = float.input
const pixels = randomValues(channels * height * width, 0)
const times = new Map(models.map(({ name }) => [name, []]))
for (let round = -WARM_UP; round < ROUNDS; round++) {
  for (const { name, model } of models) {
    const start = performance.now()
    await model.run(pixels, 1, { threads: 1 })
    if (round >= 0) times.get(name).push(performance.now() - start)
  }
}
peaks.push(measurePeak())

const ms = Object.fromEntries(models.map(({ name }) => [name, median(times.get(name))]))
const operations = 2 * float.info().macs
const peak = peaks.includes(null) ? null : Math.max(...peaks.map(({ gflops }) => gflops))
const reached = operations / 1e6 / ms.float
const share = peak === null ? null : reached / peak

console.log(`${ARCHITECTURE}, 224 x 224, batch 1, one thread of ${cpus()[0]?.model.trim()}, median of ${ROUNDS} interleaved runs\n`)
console.log(
  table(
    [
      { title: 'model' },
      { title: 'ms an image', align: 'right' },
      { title: 'range', align: 'right' },
      { title: 'GOP/s', align: 'right' },
      { title: 'against float', align: 'right' },
      { title: 'weight bits', align: 'right' },
      { title: 'activation bits', align: 'right' },
    ],
    models.map(({ name, model }) => {
      const info = model.info()
      return [
        name,
        ms[name].toFixed(2),
        `${Math.min(...times.get(name)).toFixed(2)} .. ${Math.max(...times.get(name)).toFixed(2)}`,
        (operations / 1e6 / ms[name]).toFixed(0),
        `${(ms.float / ms[name]).toFixed(2)} x`,
        info.weightBits.toFixed(2),
        info.activationBits.toFixed(2),
      ]
    }),
  ),
)

console.log(`\nOperations an image (a multiply-add counts 2): ${(operations / 1e9).toFixed(2)} GOP`)
if (peak === null) console.log('FMA peak: not measured (needs a C++ compiler and an x86 processor with FMA)')
else {
  console.log(`FMA peak of one core, measured before and after: ${peaks.map(({ gflops }) => gflops.toFixed(1)).join(' and ')} GFLOP/s`)
  console.log(
    `float: ${(operations / 1e9).toFixed(2)} GOP / ${ms.float.toFixed(2)} ms = ${reached.toFixed(1)} GFLOP/s = ${(100 * share).toFixed(1)} % of ${peak.toFixed(1)}`,
  )
}
const cpu = devices().filter(({ device }) => device === 'cpu')
console.log(`path: ${cpu.find(({ chosen }) => chosen)?.path}`)
const amx = cpu.find(({ path }) => path === 'amx')
if (!amx?.runs) console.log(`AMX is not in these figures: ${amx?.reason ?? 'it is not built'}`)

const verdict = (met) => (met === null ? 'not measured' : met ? 'met' : 'NOT met')
console.log(`\nfloat at least ${100 * FLOAT_SHARE} % of the peak: ${verdict(share === null ? null : share >= FLOAT_SHARE)}`)
for (const { name } of models.slice(1)) {
  console.log(`${name} at least ${SPEED_UP} times faster than float: ${verdict(ms.float / ms[name] >= SPEED_UP)}`)
}
for (const { model } of models) model.dispose()
