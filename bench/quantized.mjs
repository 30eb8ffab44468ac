// Quantized models for benchmarks of speed.
import { Model } from '../dist/esm/index.js'
import { Search } from '../dist/esm/quant/search.js'
import { randomValues } from '../dist/esm/random.js'

/** Names of contestants, and their average bits. */
export const QUANTIZED = { 'fewbit W8A8': 8, 'fewbit 4.5 bits': 4.5 }

/** The same kinds of codes without what makes them good: random weights gain nothing by it, and times do not change. */
export async function quantizedSoon(float) {
  const { channels, height, width } = float.input
  const calibration = { pixels: randomValues(2 * channels * height * width, 1), images: 2 }
  const without = new Set(['rotation', 'splitting', 'smoothing', 'fisher', 'compensation', 'allocation', 'sequence'])
  const search = await Search.prepare(float.parts.graph, calibration, { without, coverage: 'partial' })
  const models = []
  for (const [name, averageBits] of Object.entries(QUANTIZED)) {
    const { graph, scheme } = await search.quantize({ averageBits })
    models.push({ name, model: new Model({ ...float.parts, graph, scheme }) })
  }
  return models
}
