import type { breather } from '../../codes/breathe.js'
import type { Observation } from '../../codes/observation.js'
import { familyCodes, type Range } from '../../codes/published.js'
import type { Graph } from '../../graph/graph.js'
import type { RunOptions } from '../observe.js'
import { type Operands, tensorOf } from '../operands.js'
import { columnsOf, FEWEST_ROWS, type Fold, foldLinear, foldNorm, foldObservation, leastFold, smoothingFactor } from '../smooth.js'
import type { Widths } from './code-searches.js'
import type { OutputInformation } from './output-information.js'
import { ProductSearch } from './product-search.js'

/**
 * SQ-b (MPTQ-ViT) behind LayerNorm, as published: channels are shifted by their mean and divided by
 *
 *   eps_j = R_j^a / max_o |W_oj|^(1-a),  R_j = max_t |Y_tj - mu_j|,
 *
 * which is folded into LayerNorm and into the layers that read it. The exponent is searched by the error of the products, per tensor and at
 * the widths asked for; to leave a LayerNorm alone is a candidate as well. The float model is unchanged.
 */

const EXPONENTS = [0.25, 0.4, 0.5, 0.6, 0.75]
/** Of the scales every nth is enough to compare exponents. */
const SCALE_STRIDE = 3

/** @param scales fractions of the scales that cover all */
export async function smoothNorms(
  float: Graph,
  { activations }: Operands,
  observations: Map<string, Observation>,
  information: OutputInformation,
  widths: Widths,
  scales: readonly number[],
  breathe: ReturnType<typeof breather>,
  options: RunOptions,
): Promise<{ graph: Graph; observations: Map<string, Observation> }> {
  const fewer = scales.filter((_, i) => i % SCALE_STRIDE === 0)
  const codes = (bits: number, range: Range) => familyCodes('symmetric', bits, range, fewer, 'rule')
  const graph: Graph = { ...float, nodes: float.nodes.map((node) => ({ ...node })), constants: new Map(float.constants) }
  const folded = new Map(observations)
  for (const { name, readers } of activations) {
    const norm = graph.nodes.find(({ output }) => output === name)
    if (norm?.op !== 'layernorm' || readers.length === 0) continue
    const observation = observations.get(name) as Observation
    if (observation.count < FEWEST_ROWS) continue
    const weights = readers.map((reader) => tensorOf(graph, reader.weight))
    const lossOf = async (fold: Fold) => {
      const layers = weights.map((weight, i) => ({
        weight: { shape: weight.shape, data: weight.data.map((w, k) => w * fold.factor[k % fold.factor.length]) },
        outputWeights: information(readers[i].output, weight.shape[0]),
        given: null,
      }))
      const settings = { scales: fewer, codes, finalists: 1, rounds: 1 }
      const search = await ProductSearch.of(await foldObservation(observation, fold, breathe), layers, settings, breathe, options)
      await search.search(
        widths.activation,
        weights.map(() => widths.weight),
      )
      return search.loss()
    }
    const { width, mean } = observation
    const alone: Fold = { shift: new Float64Array(width), factor: new Float64Array(width).fill(1) }
    const columns = columnsOf(weights)
    const factors = EXPONENTS.map((exponent) => smoothingFactor(columns, observation, mean, 'reach', exponent))
    const fold = await leastFold([alone, ...factors.map((factor) => ({ shift: mean, factor }))], lossOf)
    if (fold === alone) continue
    foldNorm(graph, norm, fold)
    for (const reader of readers) foldLinear(graph, reader, fold)
    folded.set(name, await foldObservation(observation, fold, breathe))
  }
  return { graph, observations: folded }
}
