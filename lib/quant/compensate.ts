import type { breather } from '../codes/breathe.js'
import { encodeLevel } from '../codes/code.js'
import { encodeRowCompensated, inverseFactor } from '../codes/compensate.js'
import type { Observation } from '../codes/observation.js'
import { searchRow } from '../codes/weights.js'
import type { Graph } from '../graph/graph.js'
import type { Code, Scheme } from '../graph/scheme.js'
import { packWeight } from '../runtime/blobs.js'
import { correctBias } from './bias.js'
import { tensorOf, type WeightOperand } from './operands.js'

/**
 * Rounds the weights of a scheme again, now knowing the codes of their inputs: each row's error is compensated within the row on the quantized inputs,
 * and what is left of the mean error of both operands goes into the bias.
 */
export async function compensateWeights(
  float: Graph,
  quantized: { graph: Graph; scheme: Scheme },
  weights: WeightOperand[],
  observations: Map<string, Observation>,
  breathe: ReturnType<typeof breather>,
  onProgress: (done: number, total: number) => void,
): Promise<void> {
  const { graph, scheme } = quantized
  let factored: { edge: string; factor: Float64Array; inputs: Float32Array } = { edge: '', factor: new Float64Array(0), inputs: new Float32Array(0) }
  for (let done = 0; done < weights.length; done++) {
    const operand = weights[done]
    const edge = operand.input.name
    const observation = observations.get(edge) as Observation
    if (factored.edge !== edge) {
      const inputs = await quantizeSamples(observation, scheme.edges.get(edge) as Code, breathe)
      factored = { edge, inputs, factor: await inverseFactor(inputs, observation.width, breathe) }
    }
    const { data } = tensorOf(float, operand.name)
    const code = scheme.weights.get(operand.name)
    if (!code) throw new Error(`${operand.name} has no code`)
    const { bits, outputs, inputs } = code
    const levels = new Int8Array(outputs * inputs)
    const steps = new Float32Array(outputs)
    for (let o = 0; o < outputs; o++) {
      const row = data.subarray(o * inputs, (o + 1) * inputs)
      steps[o] = searchRow(row, observation.meanSquare, bits).step
      encodeRowCompensated(row, steps[o], bits, factored.factor, levels.subarray(o * inputs, (o + 1) * inputs))
      await breathe()
    }
    scheme.weights.set(operand.name, { ...code, packed: packWeight(levels, outputs, inputs, bits), steps })
    const error = meanError(data, levels, steps, columnMeans(observation.samples, inputs), columnMeans(factored.inputs, inputs))
    correctBias(graph, float, operand.node, error)
    onProgress(done + 1, weights.length)
  }
}

/** The sampled rows as the quantized model sees them: encoded and decoded. */
async function quantizeSamples(observation: Observation, code: Code, breathe: ReturnType<typeof breather>): Promise<Float32Array> {
  const { samples, width } = observation
  const quantized = new Float32Array(samples.length)
  for (let i = 0; i < samples.length; i++) {
    quantized[i] = encodeLevel(code, samples[i]) * code.step
    if (i % width === 0) await breathe()
  }
  return quantized
}

function columnMeans(rows: Float32Array, width: number): Float64Array {
  const means = new Float64Array(width)
  const count = rows.length / width
  rows.forEach((x, i) => {
    means[i % width] += x / count
  })
  return means
}

/** [outputs] E[q] w_q - E[x] w */
function meanError(
  weights: Float32Array,
  levels: Int8Array,
  steps: Float32Array,
  means: Float64Array,
  quantizedMeans: Float64Array,
): Float64Array {
  const width = means.length
  return Float64Array.from(steps, (step, o) => {
    let error = 0
    for (let i = 0; i < width; i++) {
      const at = o * width + i
      error += levels[at] * step * quantizedMeans[i] - weights[at] * means[i]
    }
    return error
  })
}
