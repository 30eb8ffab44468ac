// What each part of a preset, best or mptq, buys: the preset, and the preset without one part at a time, on real images; of mptq also each part by itself.
//   node bench/ablation.mjs                       all models, W4A4 partial and average 4 fully quantized, one draw of calibration images
//   node bench/ablation.mjs --model vit-cifar10 --setting partial --without refit,v2sf --draws 3
//   node bench/ablation.mjs --preset mptq --model vit-cifar10
// The checkpoints and images are those of quantization.mjs.
import { join } from 'node:path'
import { load } from '../dist/esm/index.js'
import { EXTRAS } from '../dist/esm/quant/parts.js'
import { partsOf } from '../dist/esm/quant/presets.js'
import { formatPercent } from '../dist/esm/report/terminal.js'
import { evaluate, meanOf, measureQuantized, modelsOf, readImages } from './accuracy.mjs'
import { Bench, missing, misused, SHARED, say } from './runner.mjs'

const SETTINGS = [
  // At one width nothing is allocated, and the stream stays float.
  {
    ...{ name: 'partial, W4A4', options: { coverage: 'partial', bits: 4 } },
    idle: ['allocation', 'class-token', 'stream-rows', 'o2sf', 'greedy-mp'],
  },
  // Greedy MP is what finds an average.
  { name: 'fully quantized, average 4', options: { coverage: 'full', averageBits: 4 }, idle: ['greedy-mp'] },
]

/** Whose means over the draws make a row. */
const MEASURED = ['drop', 'divergence', 'weightBits', 'activationBits', 'seconds']

/** Of the divergence: less comes and goes with the calibration images. */
const NOTICEABLE = 0.05

const bench = new Bench('ablation', {
  ...{ draws: { type: 'string', default: '1' }, model: { type: 'string' }, setting: { type: 'string' }, without: { type: 'string' } },
  preset: { type: 'string', default: 'best' },
})
const { args } = bench
const [preset] = bench.among('preset', ['best', 'mptq'])
const parts = partsOf(preset)
const asked = args.without?.split(',') ?? parts
for (const part of asked) if (!parts.includes(part)) misused(`${preset} has no part ${part}; its parts are ${parts.join(', ')}`)
const draws = bench.whole('draws')
const settings = SETTINGS.filter(({ name }) => !args.setting || name.startsWith(args.setting))
if (settings.length === 0)
  misused(`--setting must begin one of ${SETTINGS.map(({ name }) => `'${name}'`).join(' and ')}, not be '${args.setting}'`)
for (const model of modelsOf(bench)) {
  const absent = missing([join('zoo', model.name), model.calibrate, model.test])
  if (absent.length > 0) bench.print(`${model.name}: skipped, ${absent.join(', ')} not found`)
  else await measure(model)
}

async function measure({ name, calibrate, test }) {
  const float = await load(join(SHARED, 'zoo', name))
  try {
    const data = await readImages(float, join(SHARED, test))
    const reference = await evaluate(float, data)
    for (const { name: setting, options, idle } of settings) {
      const line = async ({ label, ...parts }) => {
        const found = []
        for (let seed = 0; seed < draws; seed++) {
          say(`${name}: ${setting}, ${label}, draw ${seed + 1}`)
          found.push(
            await measureQuantized(float, reference, { ...options, preset, ...parts, calibrate: join(SHARED, calibrate), seed }, data),
          )
        }
        return bench.row({ model: name, setting, contestant: label, draws, ...meanOf(found, MEASURED) })
      }
      const whole = await line({ label: preset })
      const lines = [{ ...whole, against: whole }]
      for (const variant of variantsOf(idle)) lines.push({ ...(await line(variant)), against: whole })
      bench.print(
        `\n${name}, ${setting}: float ${formatPercent(reference.top1)} on ${data.labels.length} images of ${test}; mean of ${draws} draw(s) ` +
          `of calibration images from ${calibrate}; of no use here: ${idle.filter((part) => parts.includes(part)).join(', ') || 'nothing'}\n`,
      )
      show(lines)
    }
  } finally {
    float.dispose()
  }
}

/**
 * The preset with one part switched: left out, or put in where it is left out by default; of a published preset, then none of its parts,
 * and each by itself.
 */
function variantsOf(idle) {
  const there = asked.filter((part) => !idle.includes(part))
  const switched = there.map((part) =>
    preset === 'best' && EXTRAS.includes(part) ? { label: `with ${part}`, with: [part] } : { label: `without ${part}`, without: [part] },
  )
  if (preset === 'best') return switched
  const others = (part) => parts.filter((other) => other !== part && !idle.includes(other))
  return [
    ...switched,
    { label: `none of ${parts.filter((part) => !idle.includes(part)).join(', ')}`, without: others() },
    ...there.map((part) => ({ label: `${part} alone`, without: others(part) })),
  ]
}

/** What the part that is switched does to the divergence where it is there. */
function verdict({ contestant, divergence, against }) {
  const [how] = contestant.split(' ')
  if (how !== 'with' && how !== 'without') return ''
  if (divergence === against.divergence) return 'does nothing'
  const more = divergence / against.divergence - 1
  if (Math.abs(more) < NOTICEABLE) return 'hardly matters'
  return more > 0 === (how === 'without') ? 'helps' : 'harms'
}

function signed(value, digits) {
  return `${value < 0 ? '' : '+'}${value.toFixed(digits)}`
}

function show(lines) {
  bench.table(
    {
      parts: ({ contestant }) => contestant,
      'KL to float': ({ divergence }) => divergence.toFixed(4),
      'against all': ({ divergence, against }) => `${signed(100 * (divergence / against.divergence - 1), 0)} %`,
      drop: ({ drop }) => drop.toFixed(2),
      'more than all': ({ drop, against }) => signed(drop - against.drop, 2),
      'the part': verdict,
      weights: ({ weightBits }) => `${weightBits.toFixed(2)} bits`,
      activations: ({ activationBits }) => `${activationBits.toFixed(2)} bits`,
      'quantized in': ({ seconds }) => `${seconds.toFixed(0)} s`,
    },
    lines,
  )
}
