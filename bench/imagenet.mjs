// Rows of the papers' tables and the baseline beside this package's, on the user's own weights and images:
//   node bench/imagenet.mjs CHECKPOINT DATA [--published DeiT-S] [--calibration-images N] [--seed S]
// DATA holds the folders `train`, from which calibration images are drawn (32 by default), and `val`, the test images, each as
// `fewbit eval --data` takes it. The published figures are those of ImageNet's 50,000 validation images: they compare with ours when `val` holds these and the
// checkpoint is the one that they name, and stand in a column of their own.
import { join } from 'node:path'
import { load } from '../dist/esm/index.js'
import { formatPercent } from '../dist/esm/report/terminal.js'
import { evaluate, measureQuantized, readImages } from './accuracy.mjs'
import { Bench, misused, say } from './runner.mjs'

const ROWS = [
  { name: 'minmax, partial, W6A6', preset: 'minmax', coverage: 'partial', bits: 6 },
  { name: 'tsptq, partial, W6A6', preset: 'tsptq', coverage: 'partial', bits: 6, paper: 'TSPTQ-ViT 6/6' },
  { name: 'mptq, partial, W6A6', preset: 'mptq', coverage: 'partial', bits: 6, paper: 'MPTQ-ViT 6/6' },
  { name: 'best, partial, W6A6', preset: 'best', coverage: 'partial', bits: 6 },
  { name: 'minmax, partial, W4A4', preset: 'minmax', coverage: 'partial', bits: 4 },
  { name: 'tsptq, partial, W4A4', preset: 'tsptq', coverage: 'partial', bits: 4, paper: 'TSPTQ-ViT 4/4' },
  { name: 'mptq, partial, W4A4', preset: 'mptq', coverage: 'partial', bits: 4, paper: 'MPTQ-ViT 4/4' },
  { name: 'best, partial, W4A4', preset: 'best', coverage: 'partial', bits: 4 },
  { name: 'minmax, fully quantized, 8 bits', preset: 'minmax', coverage: 'full', bits: 8 },
  { name: 'tsptq, fully quantized, 8 bits', preset: 'tsptq', coverage: 'full', bits: 8, paper: 'TSPTQ-ViT 8/8/8' },
  { name: 'best, fully quantized, 8 bits', preset: 'best', coverage: 'full', bits: 8 },
]

/**
 * Published top-1 accuracy, % (MPTQ-ViT's 4/4 and 6/6 are SQ-b with OPT-m; 8/8/8: weights, activations, attention). The figures are as
 * a later paper reprints them.
 */
const PUBLISHED = {
  'ViT-S': {
    float: 81.39,
    'TSPTQ-ViT 6/6': 79.45,
    'MPTQ-ViT 6/6': 79.98,
    'TSPTQ-ViT 4/4': 52.56,
    'MPTQ-ViT 4/4': 55.88,
    'TSPTQ-ViT 8/8/8': 81.2,
  },
  'ViT-B': {
    float: 84.53,
    'TSPTQ-ViT 6/6': 82.29,
    'MPTQ-ViT 6/6': 82.7,
    'TSPTQ-ViT 4/4': 50.1,
    'MPTQ-ViT 4/4': 61.84,
    'TSPTQ-ViT 8/8/8': 84.11,
  },
  'ViT-L': { float: 85.84, 'TSPTQ-ViT 6/6': 85.18, 'MPTQ-ViT 6/6': 85.53, 'TSPTQ-ViT 4/4': 77.64, 'MPTQ-ViT 4/4': 80.07 },
  'DeiT-T': {
    float: 72.18,
    'TSPTQ-ViT 6/6': 70.82,
    'MPTQ-ViT 6/6': 71.03,
    'TSPTQ-ViT 4/4': 48.36,
    'MPTQ-ViT 4/4': 55.62,
    'TSPTQ-ViT 8/8/8': 71.87,
  },
  'DeiT-S': {
    float: 79.85,
    'TSPTQ-ViT 6/6': 77.18,
    'MPTQ-ViT 6/6': 78.7,
    'TSPTQ-ViT 4/4': 45.08,
    'MPTQ-ViT 4/4': 68.43,
    'TSPTQ-ViT 8/8/8': 79.56,
  },
  'DeiT-B': {
    float: 81.8,
    'TSPTQ-ViT 6/6': 80.61,
    'MPTQ-ViT 6/6': 81.25,
    'TSPTQ-ViT 4/4': 69.45,
    'MPTQ-ViT 4/4': 76.14,
    'TSPTQ-ViT 8/8/8': 81.72,
  },
  'Swin-T': { float: 81.37, 'TSPTQ-ViT 6/6': 80.62, 'MPTQ-ViT 6/6': 80.67, 'TSPTQ-ViT 4/4': 72.48, 'MPTQ-ViT 4/4': 73.82 },
  'Swin-S': { float: 83.21, 'TSPTQ-ViT 6/6': 82.6, 'MPTQ-ViT 6/6': 82.62, 'TSPTQ-ViT 4/4': 76.3, 'MPTQ-ViT 4/4': 77.2 },
  'Swin-B': { float: 85.27, 'TSPTQ-ViT 6/6': 84.16, 'MPTQ-ViT 6/6': 84.5, 'TSPTQ-ViT 4/4': 73.28, 'MPTQ-ViT 4/4': 76.51 },
}

const bench = new Bench(
  'imagenet',
  {
    'calibration-images': { type: 'string', default: '32' },
    seed: { type: 'string', default: '0' },
    published: { type: 'string' },
  },
  { allowPositionals: true },
)
const [checkpoint, data] = bench.files
const published = bench.args.published === undefined ? {} : PUBLISHED[bench.args.published]
if (bench.files.length !== 2 || !published) {
  misused(
    `usage: npm run bench:imagenet -- CHECKPOINT DATA [--published ${Object.keys(PUBLISHED).join('|')}] [--calibration-images N] [--seed S]`,
  )
}
const [calibrationImages, seed] = [bench.whole('calibration-images'), bench.whole('seed', 0)]

const float = await load(checkpoint)
const test = await readImages(float, join(data, 'val'))
const reference = await evaluate(float, test)
bench.row({ contestant: 'float', top1: reference.top1, drop: 0, published: published.float })
for (const { name, paper, ...options } of ROWS) {
  say(name)
  const draw = { calibrate: join(data, 'train'), calibrationImages, seed }
  bench.row({
    contestant: name,
    paper,
    published: published[paper],
    ...(await measureQuantized(float, reference, { ...options, ...draw }, test)),
  })
}
float.dispose()

bench.print(`\n${checkpoint}: ${test.labels.length} images of ${join(data, 'val')}\n`)
bench.table({
  model: ({ contestant }) => contestant,
  'top-1': ({ top1 }) => formatPercent(top1),
  drop: ({ drop }) => drop.toFixed(2),
  'KL to float': ({ divergence }) => divergence?.toFixed(4) ?? '',
  published: ({ published, paper }) => (published === undefined ? '' : `${published.toFixed(2)} %${paper ? ` (${paper})` : ''}`),
  'published drop': ({ published: own }) => (own === undefined || published.float === undefined ? '' : (published.float - own).toFixed(2)),
})
