// Runs exported models in onnxruntime-node and compares their logits with fewbit's: all forms of small models of every architecture, at batch 1 and 3.
//   node bench/onnx.mjs [--model NAME]
import { noiseImages } from '../dist/esm/images/noise.js'
import { exportOnnx, Model, randomModel } from '../dist/esm/index.js'
import { randomVitOf } from '../dist/esm/models/random.js'
import { randomValues } from '../dist/esm/random.js'
import { loadRival, rivalSession, runRival } from './rival.mjs'
import { Bench } from './runner.mjs'

/** How far logits may be apart, as a share of the largest; those on 8 bits are held to their own rounding. */
const TOLERANCES = { float: 1e-4, 'int8-dynamic': 0.1, 'int8-qdq': 0.1 }

const MODELS = {
  'vit-tiny': () => randomModel('vit-tiny'),
  'deit, distilled': distilled,
  'swin-tiny': () => randomModel('swin-tiny'),
}

const bench = new Bench('onnx', { model: { type: 'string' } })
const names = bench.among('model', Object.keys(MODELS))
const ort = await loadRival()
if (ort) {
  for (const name of names) await check(name, await MODELS[name]())
  bench.table({
    model: ({ model }) => model,
    form: ({ form }) => form,
    batch: ({ batch }) => String(batch),
    'largest difference': ({ difference }) => difference.toExponential(1),
    'largest logit': ({ largest }) => largest.toFixed(2),
    '': ({ agrees }) => (agrees ? 'agrees' : 'DIFFERS'),
  })
  if (bench.rows.some(({ agrees }) => !agrees)) process.exitCode = 1
}

async function check(name, model) {
  const { channels, height, width } = model.input
  for (const form of Object.keys(TOLERANCES)) {
    const calibrate = form === 'int8-qdq' ? noiseImages(model.input, 4, 0) : undefined
    const session = await rivalSession(ort, await exportOnnx(model, { format: form, calibrate }), 2)
    for (const batch of [1, 3]) {
      // Of the reach of calibration's.
      const pixels = randomValues(batch * channels * height * width, 1)
      const ours = await model.run(pixels, batch)
      const theirs = await runRival(ort, session, pixels, batch, model.input)
      const difference = ours.reduce((most, value, i) => Math.max(most, Math.abs(value - theirs[i])), 0)
      const largest = ours.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
      const agrees = theirs.length === ours.length && difference <= TOLERANCES[form] * largest
      bench.row({ model: name, form, batch, difference, largest, agrees })
    }
    await session.release()
  }
  model.dispose()
}

/** A small DeiT with both heads, on images that are not square. */
async function distilled() {
  const [channels, height, width] = [3, 64, 96]
  const shape = {
    ...{ architecture: 'deit', channels, imageHeight: height, imageWidth: width, patchHeight: 16, patchWidth: 16 },
    ...{ hidden: 96, heads: 3, intermediate: 384, layers: 3, eps: 1e-6, distillationToken: true, distillationHead: true, classes: 10 },
  }
  const preprocessing = {
    ...{ resize: { mode: 'exact', height, width }, resample: 'bilinear', crop: null, rescale: 1 / 255 },
    ...{ mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], channels, height, width },
  }
  const graph = await randomVitOf(shape, 0)
  return new Model({ graph, scheme: null, preprocessing, labels: Array.from({ length: 10 }, (_, i) => String(i)) })
}
