import type { Plan, PlanOp } from '../runtime/addon-types.js'

/**
 * What a quantized plan promises not to hold.
 */

/** @throws Error that names the first matrix product which a plan computes in float */
export function assertNoFloatProducts(plan: Plan): void {
  const product = plan.ops.find(({ op }) => op === 'linearF32' || op === 'attentionF32')
  if (product) throw new Error(`${product.name} is a matrix product in float`)
}

/**
 * What full coverage promises: between the patches and the logits no op reads or writes floats. Only partial sums of logits, which nothing
 * but a linear layer that writes floats reads, may lie in the arena as floats.
 *
 * @throws Error that names the first op at fault
 */
export function assertNoFloatEdges(plan: Plan): void {
  assertNoFloatProducts(plan)
  for (const op of plan.ops) if (holdsFloats(op)) throw new Error(`${op.name} reads or writes floats between the patches and the logits`)
}

function holdsFloats(op: PlanOp): boolean {
  switch (op.op) {
    case 'linearCodes': {
      const { residual, residualCode, encode, y } = op
      const logits = !encode && y.rows === 1
      return !encode !== logits || (residual?.space === 'arena' && !residualCode && !logits)
    }
    case 'patchify':
    case 'layernormCodes':
      return !op.encode
    case 'copyRows':
      return !op.codes
    case 'gather':
      return op.elementBytes !== 1
    case 'mean':
      return !op.decode || !op.encode
    default:
      return op.op !== 'attentionCodes'
  }
}
