// Whole models on a GPU, beside onnxruntime-node's CUDA provider where it is installed.
import { noiseImages } from '../dist/esm/images/noise.js'
import { exportOnnx, quantize, randomModel } from '../dist/esm/index.js'
import { randomValues } from '../dist/esm/random.js'
import { loadRival, rivalSession, runRival } from './rival.mjs'
import { interleave, say } from './runner.mjs'

const MODELS = ['deit-small', 'vit-base']
const BATCH = 8
const SECONDS = 10

/**
 * Prints the milliseconds of a batch of each contestant, the median of interleaved runs; images and logits cross between host and device in
 * all.
 */
export async function raceModels() {
  const ort = await loadRival()
  for (const name of MODELS) {
    const float = await randomModel(name, { device: 'cuda' })
    const { channels, height, width } = float.input
    const pixels = randomValues(BATCH * channels * height * width, 0)
    const calibrate = noiseImages(float.input, 4, 0)
    const small = await quantize(float, { calibrate, bits: 8, preset: 'minmax', device: 'cuda' })
    const contestants = [
      { name: 'fewbit float', run: () => float.run(pixels, BATCH) },
      { name: 'fewbit W8A8', run: () => small.run(pixels, BATCH) },
    ]
    const sessions = ort ? await sessionsOf(ort, float, calibrate) : []
    for (const { format, session } of sessions)
      contestants.push({ name: `onnxruntime ${format}`, run: () => runRival(ort, session, pixels, BATCH, float.input) })
    const times = await interleave(contestants, { seconds: SECONDS })
    for (const [i, contestant] of contestants.entries())
      console.log(`${name}, ${BATCH} images, ${contestant.name}: ${times[i].median.toFixed(2)} ms`)
    for (const { session } of sessions) await session.release()
    for (const model of [float, small]) model.dispose()
  }
}

/** Of the rival on CUDA; none, with the reason on stderr, where its package lacks that. */
async function sessionsOf(ort, model, calibrate) {
  const sessions = []
  for (const format of ['float', 'int8-qdq']) {
    const bytes = await exportOnnx(model, { format, ...(format === 'int8-qdq' && { calibrate }) })
    try {
      sessions.push({ format, session: await rivalSession(ort, bytes, 1, 'cuda') })
    } catch (error) {
      say(`onnxruntime-node has no CUDA provider here: ${error.message}`)
      break
    }
  }
  return sessions
}
