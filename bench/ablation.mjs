// What each part of the preset `best` buys: the preset, and the preset without one part at a time, on real images.
//   node bench/ablation.mjs                       all models, W4A4 partial and average 4 fully quantized, one draw of calibration images
//   node bench/ablation.mjs --model vit-cifar10 --setting partial --without refit,v2sf --draws 3
// The checkpoints and images are those of quantization.mjs.
import { join } from 'node:path'
import { load } from '../dist/esm/index.js'
import { EXTRAS, PARTS } from '../dist/esm/quant/parts.js'
import { formatPercent } from '../dist/esm/report/terminal.js'
import { evaluate, MODELS, meanOf, measureQuantized, readImages } from './accuracy.mjs'
import { Bench, missing, SHARED, say } from './runner.mjs'

const SETTINGS = [
  // At one width nothing is allocated, and the stream stays float.
  { name: 'partial, W4A4', options: { coverage: 'partial', bits: 4 }, idle: ['allocation', 'stream-rows', 'o2sf'] },
  { name: 'fully quantized, average 4', options: { coverage: 'full', averageBits: 4 }, idle: [] },
]

/** Whose means over the draws make a row. */
const MEASURED = ['drop', 'divergence', 'weightBits', 'activationBits', 'seconds']

/** Of the divergence: less comes and goes with the calibration images. */
const NOTICEABLE = 0.05

const bench = new Bench('ablation', {
  ...{ draws: { type: 'string', default: '1' }, model: { type: 'string' }, setting: { type: 'string' }, without: { type: 'string' } },
})
const { args } = bench
const asked = args.without?.split(',') ?? PARTS
const settings = SETTINGS.filter(({ name }) => !args.setting || name.startsWith(args.setting))
for (const model of MODELS.filter(({ name }) => !args.model || name === args.model)) {
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
      const line = async (without) => {
        const found = []
        for (let seed = 0; seed < args.draws; seed++) {
          say(`${name}: ${setting}, without ${without.join() || 'nothing'}, draw ${seed + 1}`)
          const asked = { ...options, ...switched(without), calibrate: join(SHARED, calibrate), seed }
          found.push(await measureQuantized(float, reference, asked, data))
        }
        return { model: name, setting, without: without.join(), draws: Number(args.draws), ...meanOf(found, MEASURED) }
      }
      const best = bench.row(await line([]))
      const lines = [{ ...best, against: best }]
      for (const part of asked.filter((part) => !idle.includes(part))) lines.push({ ...bench.row(await line([part])), against: best })
      bench.print(
        `\n${name}, ${setting}: float ${formatPercent(reference.top1)} on ${data.labels.length} images of ${test}; mean of ${args.draws} draw(s) ` +
          `of calibration images from ${calibrate}; of no use here: ${idle.join(', ') || 'nothing'}\n`,
      )
      show(lines)
    }
  } finally {
    float.dispose()
  }
}

/** Parts that are left out by default are put in instead. */
function switched(parts) {
  return { without: parts.filter((part) => !EXTRAS.includes(part)), with: parts.filter((part) => EXTRAS.includes(part)) }
}

/** What the part that is left out does to the divergence where it is there. */
function verdict({ divergence, against, without }) {
  if (without === '') return ''
  if (divergence === against.divergence) return 'does nothing'
  const more = divergence / against.divergence - 1
  if (Math.abs(more) < NOTICEABLE) return 'hardly matters'
  return more > 0 !== EXTRAS.includes(without) ? 'helps' : 'harms'
}

function signed(value, digits) {
  return `${value < 0 ? '' : '+'}${value.toFixed(digits)}`
}

function show(lines) {
  bench.table(
    {
      model: ({ without }) => (without === '' ? 'best' : `${EXTRAS.includes(without) ? 'with' : 'without'} ${without}`),
      'KL to float': ({ divergence }) => divergence.toFixed(4),
      'against best': ({ divergence, against }) => `${signed(100 * (divergence / against.divergence - 1), 0)} %`,
      drop: ({ drop }) => drop.toFixed(2),
      'more than best': ({ drop, against }) => signed(drop - against.drop, 2),
      'the part': verdict,
      weights: ({ weightBits }) => `${weightBits.toFixed(2)} bits`,
      activations: ({ activationBits }) => `${activationBits.toFixed(2)} bits`,
      'quantized in': ({ seconds }) => `${seconds.toFixed(0)} s`,
    },
    lines,
  )
}
