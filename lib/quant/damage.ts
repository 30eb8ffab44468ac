import type { breather } from '../codes/breathe.js'
import type { Graph } from '../graph/graph.js'
import type { Candidates } from './candidates.js'
import { decodeWeight } from './choose.js'
import type { Information } from './information.js'
import type { RunOptions } from './observe.js'
import { type ActivationOperand, fineElements, tensorOf, type WeightOperand } from './operands.js'
import { multiplyRows } from './product.js'

/**
 * What each operand at each width costs: the divergence to the float model's predictions to second order, errors taken as independent,
 *
 *   KL  =  1/2 sum E[g^2] E[e^2]
 *
 * over the elements of an edge, with E[g^2] the Fisher information: g has the second moments that gradients of a log-likelihood have at
 * labels drawn from the model, and no label is drawn (signGradients, fisher.ts). e is the error of rounding; for a weight the edge is the
 * output of its layer and e = (W' - W) x. Unlike differences of measured divergences it has no noise from few images, and it needs no run
 * of a quantized model.
 */

/** Errors of weights are computed at this width and shrink by four with each further bit. */
const WEIGHT_WIDTH = 4

export class Damage {
  constructor(
    private readonly graph: Graph,
    /** Found with the columns of the same information as importance. */
    private readonly candidates: Candidates,
    private readonly information: Information,
    private readonly breathe: ReturnType<typeof breather>,
    private readonly options: RunOptions,
  ) {}

  /** @returns the damage at each of `widths` */
  of(operand: WeightOperand | ActivationOperand, widths: number[]): Promise<number[]> {
    return operand.kind === 'weight' ? this.ofWeight(operand, widths) : this.ofActivation(operand, widths)
  }

  private async ofActivation(operand: ActivationOperand, widths: number[]): Promise<number[]> {
    const rows = (operand.elements - fineElements(operand)) / operand.width
    const damage: number[] = []
    for (const bits of widths) damage.push(0.5 * rows * (await this.candidates.loss(operand, bits)))
    return damage
  }

  private async ofWeight(operand: WeightOperand, widths: number[]): Promise<number[]> {
    const { name, node, input } = operand
    const { width } = input
    const { code } = await this.candidates.weight(operand, WEIGHT_WIDTH)
    const { data } = tensorOf(this.graph, name)
    const decoded = decodeWeight(code).data
    const error = data.map((w, i) => decoded[i] - w)
    const moments = this.candidates.moments.get(input.name) as Float32Array
    const product = await multiplyRows(error, { shape: [width, width], data: moments }, this.options)
    const rows = this.information.outputs(node.output)
    let loss = 0
    for (let i = 0; i < error.length; i++) loss += rows[Math.floor(i / width)] * error[i] * product[i]
    const damage = 0.5 * (this.graph.edges.get(node.output)?.rows as number) * Math.max(loss, 0)
    await this.breathe()
    return widths.map((bits) => damage * 4 ** (WEIGHT_WIDTH - bits))
  }
}
