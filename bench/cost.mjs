// What quantizing with the preset `best` costs: time and the most memory, each row in a process of its own.
//   node bench/cost.mjs                                   DeiT-Small with random weights, 32 images of noise: neither changes what there is to do
//   node bench/cost.mjs vit-tiny --calibration-images 100 another architecture
//   node bench/cost.mjs CHECKPOINT DATA                   a checkpoint on images, as `fewbit quantize --calibrate` takes them
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { noiseImages } from '../dist/esm/images/noise.js'
import { load, quantize, randomModel } from '../dist/esm/index.js'
import { formatBytes } from '../dist/esm/report/terminal.js'
import { Bench, say } from './runner.mjs'

const ROWS = [
  { name: 'fully quantized, average 5', coverage: 'full', averageBits: 5 },
  { name: 'partial, W4A4', coverage: 'partial', bits: 4 },
]

const bench = new Bench(
  'cost',
  { 'calibration-images': { type: 'string', default: '32' }, row: { type: 'string' } },
  { allowPositionals: true },
)
const [model = 'deit-small', data] = bench.files
const images = bench.whole('calibration-images')
if (bench.args.row !== undefined) process.stdout.write(JSON.stringify(await measure(ROWS[bench.args.row])))
else compare()

function compare() {
  for (const [i, { name }] of ROWS.entries()) {
    say(name)
    const argv = [fileURLToPath(import.meta.url), ...bench.files, '--calibration-images', String(images), '--row', String(i)]
    const { status, stdout } = spawnSync(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })
    if (status !== 0) process.exit(1)
    bench.row({ model, contestant: name, images, ...JSON.parse(stdout) })
  }
  bench.print(`\n${model}, ${images} images of ${data ?? 'noise'}\n`)
  bench.table({
    row: ({ contestant }) => contestant,
    time: ({ seconds }) => `${seconds.toFixed(0)} s`,
    estimated: ({ estimated }) => `${estimated.toFixed(0)} s`,
    'processor time': ({ processorSeconds }) => `${processorSeconds.toFixed(0)} s`,
    'most memory': ({ bytes }) => formatBytes(bytes),
    'load of the machine': ({ load }) => load.toFixed(2),
  })
}

/** In this process, whose memory nothing else has used. */
async function measure({ name: _, ...options }) {
  const float = data === undefined ? await randomModel(model) : await load(model)
  const calibrate = data ?? noiseImages(float.input, images, 0)
  let estimated = 0
  const before = process.cpuUsage()
  const start = performance.now()
  const onEstimate = (seconds) => {
    estimated = seconds
  }
  await quantize(float, { ...options, calibrate, calibrationImages: images, onEstimate })
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(before)
  return { seconds, estimated, processorSeconds: (user + system) / 1e6, bytes: 1024 * process.resourceUsage().maxRSS }
}
