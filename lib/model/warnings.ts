import type { Graph } from '../graph/graph.js'
import type { Scheme } from '../graph/scheme.js'
import type { Divergence } from '../quant/assemble.js'
import type { Calibration, RunOptions } from '../quant/observe.js'
import { constantActivations, zeroRows } from '../quant/suspects.js'
import type { Draw } from './calibration.js'

/**
 * What may spoil a quantization without being an error.
 */

/** With fewer, ranges and widths follow from chance. */
const FEW_IMAGES = 8
/** Names in one message. */
const MOST_NAMES = 5

/** Of the model on its calibration images: what never varies, and weights of zeros. */
export async function modelWarnings(
  graph: Graph,
  coverage: Scheme['coverage'],
  calibration: Calibration,
  options: RunOptions,
): Promise<string[]> {
  const constant = await constantActivations(graph, coverage, calibration, options)
  const warnings: string[] = []
  const add = (names: string[], what: (some: string) => string) => {
    const some = names.slice(0, MOST_NAMES).join(', ')
    if (names.length > 0) warnings.push(what(names.length > MOST_NAMES ? `${some} and ${names.length - MOST_NAMES} more` : some))
  }
  const named = (zero: boolean) => constant.filter((edge) => edge.zero === zero).map(({ name }) => name)
  add(named(true), (some) => `zero on all calibration images: ${some}; whatever other images have there is lost`)
  add(named(false), (some) => `the same on all calibration images: ${some}; other values will be clipped to it`)
  const zeros = await zeroRows(graph, options.signal)
  add(
    zeros.map(({ layer, rows, outputs }) => `${layer} (${rows} of ${outputs} rows)`),
    (some) => `weights with rows of zeros, whose outputs never vary: ${some}`,
  )
  return warnings
}

/** Of the calibration images, with what they say of themselves once the model is quantized. */
export function calibrationWarnings({ dataset, drawn }: Draw, { divergence, spread }: Divergence): string[] {
  const images = drawn.length
  const { labels } = dataset
  const oneClass = images > 1 && labels !== null && drawn.every((index) => labels[index] === labels[drawn[0]])
  const measured =
    images === 1
      ? 'how much images differ cannot be measured on one'
      : `on them the divergence to the float model is ${divergence.toPrecision(3)} nats with a standard deviation of ${spread.toPrecision(3)} ` +
        `from image to image`
  return [
    ...(images < FEW_IMAGES ? [`only ${images} calibration image${images === 1 ? '' : 's'}, fewer than ${FEW_IMAGES}: ${measured}`] : []),
    ...(oneClass ? [`all ${images} calibration images are of one class: ${measured}, and other classes may be worse`] : []),
  ]
}
