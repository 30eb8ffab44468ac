import type { breather } from '../codes/breathe.js'
import { Histogram } from '../codes/histogram.js'
import type { Observation } from '../codes/observation.js'
import type { Graph } from '../graph/graph.js'
import { unpackWeight } from '../runtime/blobs.js'
import type { Candidates } from './candidates.js'
import { fisher, signGradients } from './fisher.js'
import { secondMoments } from './moments.js'
import type { Calibration, RunOptions } from './observe.js'
import { type ActivationOperand, type Operands, tensorOf, type WeightOperand } from './operands.js'
import { multiplyRows } from './product.js'

/**
 * What each operand at each width costs: the divergence to the float model's predictions to second order, errors taken as independent,
 *
 *   KL  =  1/2 sum E[g^2] E[e^2]
 *
 * over the elements of an edge, with g the gradient of a log-likelihood at labels drawn from the model (Fisher information, fisher.ts) and e the error of
 * rounding. For a weight the edge is the output of its layer and e = (W' - W) x. Unlike differences of measured divergences it has no noise from
 * few images, and it needs no run of a quantized model.
 */

/** Draws of gradients: their second moments settle quickly. */
const DRAWS = 2
/** Errors of weights are computed at this width and shrink by four with each further bit. */
const WEIGHT_WIDTH = 4

export class Damage {
  private constructor(
    private readonly graph: Graph,
    private readonly observations: Map<string, Observation>,
    private readonly candidates: Candidates,
    /** By edge: E[g^2] of each column. */
    private readonly information: Map<string, Float64Array>,
    private readonly breathe: ReturnType<typeof breather>,
    private readonly options: RunOptions,
  ) {}

  static async measure(
    graph: Graph,
    operands: Operands,
    observations: Map<string, Observation>,
    candidates: Candidates,
    calibration: Calibration,
    logits: Float32Array,
    breathe: ReturnType<typeof breather>,
    options: RunOptions,
  ): Promise<Damage> {
    const behind = operands.activations.filter((operand) => !isInFront(graph, operand))
    const edges = [...new Set([...behind.map(({ name }) => name), ...operands.weights.map(({ node }) => node.output)])]
    const found = await fisher(graph, calibration, edges, { ...options, logits, draws: DRAWS, seeds: signGradients })
    const information = new Map([...found].map(([edge, { meanSquare }]) => [edge, meanSquare]))
    return new Damage(graph, observations, candidates, information, breathe, options)
  }

  /** @returns the damage at each of `widths` */
  of(operand: WeightOperand | ActivationOperand, widths: number[]): Promise<number[]> {
    return operand.kind === 'weight' ? this.ofWeight(operand, widths) : this.ofActivation(operand, widths)
  }

  private async ofActivation(operand: ActivationOperand, widths: number[]): Promise<number[]> {
    const { name, elements, width } = operand
    const observation = this.observations.get(name) as Observation
    const histogram = new Histogram(observation, this.informationOf(operand))
    const damage: number[] = []
    for (const bits of widths) {
      const loss = histogram.lossOf(await this.candidates.activation(operand, bits))
      damage.push((0.5 * (elements / width) * loss) / (observation.samples.length / width))
    }
    return damage
  }

  /** In front of the patches there are no gradients: there, what the layer behind makes of an error counts. */
  private informationOf(operand: ActivationOperand): Float64Array {
    const known = this.information.get(operand.name)
    if (known) return known
    const sum = new Float64Array(operand.width)
    for (const { weight, output } of operand.readers) {
      const { data } = tensorOf(this.graph, weight)
      const rows = this.information.get(output) as Float64Array
      for (let i = 0; i < data.length; i++) sum[i % operand.width] += rows[Math.floor(i / operand.width)] * data[i] ** 2
    }
    return sum
  }

  private async ofWeight({ name, node, input }: WeightOperand, widths: number[]): Promise<number[]> {
    const { samples, width } = this.observations.get(input.name) as Observation
    const { code } = await this.candidates.weight(
      { kind: 'weight', name, node, input, elements: tensorOf(this.graph, name).data.length },
      WEIGHT_WIDTH,
    )
    const { data } = tensorOf(this.graph, name)
    const levels = unpackWeight(code.packed, code.outputs, width, code.bits)
    const error = data.map((w, i) => levels[i] * code.steps[Math.floor(i / width)] - w)
    const moments = await secondMoments(samples, width, null, this.breathe, this.options)
    const product = await multiplyRows(error, { shape: [width, width], data: Float32Array.from(moments) }, this.options)
    const rows = this.information.get(node.output) as Float64Array
    let loss = 0
    for (let i = 0; i < error.length; i++) loss += rows[Math.floor(i / width)] * error[i] * product[i]
    const damage = 0.5 * (this.graph.edges.get(node.output)?.rows as number) * Math.max(loss, 0)
    await this.breathe()
    return widths.map((bits) => damage * 4 ** (WEIGHT_WIDTH - bits))
  }
}

function isInFront(graph: Graph, operand: ActivationOperand): boolean {
  return graph.nodes.some((node) => node.op === 'patchify' && node.output === operand.name)
}
