import type { Plan, PlanOp, View } from '../../lib/runtime/addon-types.js'
import { allocateBlob } from '../../lib/runtime/blobs.js'
import { Session } from '../../lib/runtime/session.js'
import { Blobs, floats, tokensPlan } from './plans.js'

/** Plans that do not hold are refused with a message that names the op and the field. */

const signed = { inverseStep: 1, low: -128, high: 127, offset: 128 as const }
const codes = (offset: number, rows: number, width: number): View => ({
  ...{ space: 'arena', offset, rowStride: 64, imageStride: rows * 64, rows, width },
})

/** One op of every other kind; runs as it is. */
function everyOp(): Plan {
  const blobs = new Blobs()
  const many = () => blobs.zeros(16384)
  const encode = { ...signed }
  const ops: PlanOp[] = [
    {
      name: 'cut',
      op: 'patchify',
      x: floats('input', 0, 12, 8),
      y: codes(0, 6, 16),
      channels: 2,
      patchHeight: 2,
      patchWidth: 4,
      encode: signed,
    },
    {
      ...{ name: 'product', op: 'linearCodes', x: codes(0, 6, 16), y: codes(1024, 6, 20), weight: many(), weightBits: 5, encode },
      ...{ correction: many(), scale: many(), bias: many(), activation: 'gelu' },
    },
    {
      ...{ name: 'heads', op: 'attentionCodes', q: codes(1024, 6, 20), k: codes(1024, 6, 20), v: codes(1024, 6, 20), heads: 4 },
      ...{ y: codes(2048, 6, 20), logitScale: many(), pInverseStep: many(), outputScale: many(), encode },
      encodeP: { inverseStep: 1, low: 0, high: 255, offset: 0 },
      relative: true,
      windows: { count: 2, rows: Int32Array.from([1, 3, 5, 0, 2, 4]) },
      logitCode: { inverseStep: 10, step: 0.1 },
    },
    {
      ...{ name: 'float heads', op: 'attentionF32', q: floats('input', 0, 12, 8), k: floats('input', 0, 12, 8) },
      ...{ v: floats('input', 0, 12, 8), y: floats('output', 0, 12, 8), heads: 2, scale: many() },
      windows: { count: 3, rows: Int32Array.from([11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0]), bias: many(), regions: many() },
    },
    { name: 'watch', op: 'observe', x: floats('input', 0, 12, 8), state: many(), sampleRows: 10, sampleStride: 1 },
    {
      ...{ name: 'merged', op: 'gather', x: codes(0, 6, 16), y: codes(1024, 3, 32), elementBytes: 1, zero: 128 },
      rows: Int32Array.from([0, 5, 3, -1, 2, 2]),
    },
    { name: 'pooled', op: 'mean', x: codes(1024, 6, 20), y: codes(2048, 1, 20), decode: { offset: 128, scale: 0.5 }, encode },
    {
      ...{ name: 'point', op: 'pointwise', x: floats('input', 0, 12, 8), y: floats('arena', 4096, 12, 8), function: 'geluSlope' },
      ...{ gain: many(), factor: floats('input', 0, 12, 8), residual: floats('input', 0, 12, 8) },
    },
    {
      ...{ name: 'norm back', op: 'layernormGradient', x: floats('input', 0, 12, 8), gradient: floats('arena', 4096, 12, 8) },
      ...{ y: floats('arena', 4096, 12, 8), gamma: many(), eps: 1, residual: floats('input', 0, 12, 8) },
    },
    {
      ...{ name: 'heads back', op: 'attentionGradient', q: floats('input', 0, 12, 8), k: floats('input', 0, 12, 8) },
      ...{ v: floats('input', 0, 12, 8), gradient: floats('input', 0, 12, 8), y: floats('arena', 4096, 12, 24), heads: 2, scale: many() },
    },
    { name: 'sum', op: 'productSum', a: floats('input', 0, 12, 8), b: floats('arena', 4096, 12, 24), sum: many() },
  ]
  return { batch: 2, arenaBytes: 8192, inputBytes: 384, outputBytes: 384, ops, blobs: blobs.list }
}

// biome-ignore lint/suspicious/noExplicitAny: these tests break plans on purpose
type Change = (ops: any[], plan: any) => void

function refusal(plan: Plan, change: Change): string {
  change(plan.ops, plan)
  try {
    new Session(plan).dispose()
  } catch (error) {
    return (error as Error).message
  }
  return 'accepted'
}

test('a plan with every op runs', async () => {
  for (const threads of [1, 3]) {
    const session = new Session(everyOp(), { threads })
    expect(await session.run(new Float32Array(3 * 96), 3)).toEqual(new Float32Array(3 * 96))
    session.dispose()
  }
})

test.each<[string, Change, RegExp]>([
  ['target outside the arena', ([, embed]) => (embed.y.offset += 4), /^plan op 'embed' \(linearF32\): y .* does not fit the arena/],
  ['target in the input', ([prefix]) => (prefix.y.space = 'input'), /'prefix' \(copyRows\): y is written and must lie in/],
  ['rows far apart', ([, embed]) => (embed.y.rowStride = 2 ** 39), /'embed' \(linearF32\): y .* does not fit the arena/],
  ['rows that overlap', ([, embed]) => (embed.y.rowStride = 4), /'embed' \(linearF32\): y rowStride is shorter than a row/],
  ['images that overlap', ([, embed]) => (embed.y.imageStride = 4), /'embed' \(linearF32\): y imageStride is shorter/],
  ['odd offset', ([, , norm]) => (norm.x.offset = 2), /'norm' \(layernorm\): x offset must be a multiple of 4/],
  ['negative offset', ([, , norm]) => (norm.x.offset = -4), /'norm' \(layernorm\): x.offset must be an integer in 0\.\./],
  ['fraction', ([, , norm]) => (norm.x.rows = 1.5), /'norm' \(layernorm\): x.rows must be an integer/],
  ['no rows', ([, , norm]) => (norm.x.rows = 0), /'norm' \(layernorm\): x is empty/],
  ['wide beyond sense', ([, , norm]) => (norm.x.width = 2 ** 30), /'norm' \(layernorm\): x is too wide/],
  ['shape of the target', ([, , norm]) => (norm.y.rows = 2), /'norm' \(layernorm\): y is 2 x 19, not 6 x 19/],
  ['shape of the residual', ([, embed]) => (embed.residual.width = 3), /'embed' \(linearF32\): residual is 5 x 3, not 5 x 19/],
  ['unknown space', ([, embed]) => (embed.x.space = 'heap'), /'embed' \(linearF32\): x.space must be arena, input, output or blob/],
  ['input stride', ([, embed]) => (embed.x.imageStride = 4), /'embed' \(linearF32\): x imageStride must be inputBytes/],
  ['input too short', (_, plan) => (plan.inputBytes = 136), /'embed' \(linearF32\): x imageStride must be inputBytes/],
  ['blob that is not there', ([prefix]) => (prefix.x.blob = 9), /'prefix' \(copyRows\): x names blob 9, and there are 6/],
  ['short constant', ([, embed], plan) => (plan.blobs[embed.bias.blob] = allocateBlob(64)), /bias needs 128 bytes at offset 0 of blob/],
  ['constant out of line', ([, , norm]) => (norm.gamma.offset = 4), /'norm' \(layernorm\): gamma offset must be a multiple of 64/],
  ['eps', ([, , norm]) => (norm.eps = Number.NaN), /'norm' \(layernorm\): eps must be finite/],
  ['activation', ([, embed]) => (embed.activation = 'relu'), /'embed' \(linearF32\): activation must be none or gelu, not 'relu'/],
  ['unknown op', ([prefix]) => (prefix.op = 'copy'), /plan\.ops\[0\]\.op 'copy' of 'prefix' is not known/],
  ['missing view', ([prefix]) => delete prefix.x, /'prefix' \(copyRows\): x must be an object/],
  ['batch', (_, plan) => (plan.batch = 0), /plan: batch must be 1\.\.65536, not 0/],
  ['a foreign blob', (_, plan) => (plan.blobs[0] = {}), /not a NativeBlob/],
  ['arena that no machine has', (_, plan) => (plan.arenaBytes = 2 ** 40), /out of memory/],
])('refused: %s', (_, change, message) => {
  expect(refusal(tokensPlan().plan, change)).toMatch(message)
})

test.each<[string, Change, RegExp]>([
  ['patches', ([cut]) => (cut.patchWidth = 3), /'cut' \(patchify\): y is 6 x 16, not 6 x 12/],
  ['patch height', ([cut]) => (cut.patchHeight = 7), /'cut' \(patchify\): patchHeight must be 1\.\.6/],
  ['image with gaps', ([cut]) => (cut.x.rowStride = 36), /'cut' \(patchify\): x rowStride must be 4 times its width/],
  ['channels', ([cut]) => (cut.channels = 5), /'cut' \(patchify\): channels must divide the rows of x/],
  ['bits', ([, product]) => (product.weightBits = 9), /'product' \(linearCodes\): weightBits must be 2\.\.8, not 9/],
  ['short weight', ([, product], plan) => (plan.blobs[product.weight.blob] = allocateBlob(639)), /weight needs 640 bytes/],
  ['unaligned codes', ([, product]) => (product.x.rowStride = 32), /'product' \(linearCodes\): x offset, rowStride and imageStride/],
  ['codes at the very end', ([, product]) => (product.x.offset = 8192 - 704), /'product' \(linearCodes\): x .* does not fit/],
  ['levels', ([, product]) => (product.encode.high = 128), /'product' \(linearCodes\): encode levels -128\.\.128 with offset 128/],
  ['offset', ([, product]) => (product.encode.offset = 37), /'product' \(linearCodes\): encode offset must be even, in 0..254/],
  ['step', ([, product]) => (product.encode.inverseStep = 0), /'product' \(linearCodes\): encode inverseStep must be positive/],
  [
    'short table',
    ([, p], plan) => (p.encode.table = { blob: plan.blobs.push(allocateBlob(256)) - 1, offset: 0 }),
    /encode\.table needs 512/,
  ],
  ['heads', ([, , heads]) => (heads.heads = 3), /'heads' \(attentionCodes\): heads must divide the width of q/],
  ['key rows', ([, , heads]) => (heads.k.rows = 5), /'heads' \(attentionCodes\): k is 5 x 20, not 6 x 20/],
  ['offset of P', ([, , heads]) => (heads.encodeP = signed), /'heads' \(attentionCodes\): encodeP offset must be 0/],
  ['no encoder', ([, , heads]) => delete heads.encode, /'heads' \(attentionCodes\): encode must be an object/],
  ['probabilities', ([, , , a]) => (a.probabilities = floats('arena', 0, 4, 4)), /probabilities is 4 x 4, not 24 x 4/],
  ['windows', ([, , heads]) => (heads.windows.count = 4), /'heads' \(attentionCodes\): windows.count must divide the rows of q \(6\)/],
  ['windows without rows', ([, , heads]) => delete heads.windows.rows, /windows.rows must be there when there are several windows/],
  ['rows in floats', ([, , heads]) => (heads.windows.rows = new Float32Array(6)), /windows.rows must be an Int32Array/],
  ['a row twice', ([, , heads]) => (heads.windows.rows[0] = 5), /windows.rows must name every row once \(5\)/],
  ['a row outside', ([, , heads]) => (heads.windows.rows[2] = 6), /windows.rows must name every row once \(6\)/],
  ['too few rows', ([, , heads]) => (heads.windows.rows = new Int32Array(5)), /windows.rows must name 6 rows/],
  ['short bias', ([, , , a], plan) => (plan.blobs[a.windows.bias.blob] = allocateBlob(64)), /windows.bias needs 128 bytes/],
  ['short regions', ([, , , a], plan) => (plan.blobs[a.windows.regions.blob] = allocateBlob(8)), /windows.regions needs 12 bytes/],
  ['logits', ([, , heads]) => (heads.logitCode.step = 0), /'heads' \(attentionCodes\): logitCode step must be positive/],
  ['gathered row', ([, , , , , gather]) => (gather.rows[1] = 6), /'merged' \(gather\): rows names row 6, and there are 6/],
  ['gathered row below', ([, , , , , gather]) => (gather.rows[1] = -2), /'merged' \(gather\): rows names row -2/],
  ['gathered rows', ([, , , , , gather]) => (gather.rows = new Int32Array(5)), /rows must name 2 rows of x for each of y/],
  ['gathered width', ([, , , , , gather]) => (gather.y.width = 24), /'merged' \(gather\): y must be whole rows of x wide \(16\)/],
  ['gathered elements', ([, , , , , gather]) => (gather.elementBytes = 2), /'merged' \(gather\): elementBytes must be 1 or 4/],
  ['mean', ([, , , , , , mean]) => (mean.y.rows = 2), /'pooled' \(mean\): y is 2 x 20, not 1 x 20/],
  ['decoder', ([, , , , , , mean]) => (mean.decode.scale = 0), /'pooled' \(mean\): decode scale must be positive/],
  ['state', ([, , , , watch]) => (watch.sampleRows = 2 ** 20), /'watch' \(observe\): state needs/],
  ['function', (ops) => (ops.at(-4).function = 'sin'), /'point' \(pointwise\): function must be identity, gelu or geluSlope/],
  ['factor', (ops) => (ops.at(-4).factor.rows = 2), /'point' \(pointwise\): factor is 2 x 8, not 12 x 8/],
  ['gradient', (ops) => (ops.at(-3).gradient.width = 7), /'norm back' \(layernormGradient\): gradient is 12 x 7, not 12 x 8/],
  ['gradients of heads', (ops) => (ops.at(-2).y.width = 8), /'heads back' \(attentionGradient\): y is 12 x 8, not 12 x 24/],
  ['rows of a product', (ops) => (ops.at(-1).a.rows = 6), /'sum' \(productSum\): b is 12 x 24, not 6 x 24/],
  ['short sums', (ops, plan) => (plan.blobs[ops.at(-1).sum.blob] = allocateBlob(764)), /'sum' \(productSum\): sum needs 768/],
  ['stride of samples', ([, , , , watch]) => (watch.sampleStride = 0), /'watch' \(observe\): sampleStride must be at least 1/],
])('refused: %s', (_, change, message) => {
  expect(refusal(everyOp(), change)).toMatch(message)
})

/** What full coverage adds: rows of codes are copied, added to and normalised. */
function codedStream(): Plan {
  const blobs = new Blobs()
  const many = () => blobs.zeros(16384)
  const encode = { ...signed, inverseSteps: many() }
  const rows: View = { space: 'blob', blob: many().blob, offset: 0, rowStride: 64, imageStride: 0, rows: 2, width: 20 }
  const ops: PlanOp[] = [
    { name: 'prefix', op: 'copyRows', x: rows, y: { ...codes(0, 6, 20), rows: 2 }, codes: true },
    {
      ...{ name: 'sum', op: 'linearCodes', x: codes(1024, 6, 16), y: codes(0, 6, 20), residual: codes(0, 6, 20), encode },
      ...{ weight: many(), weightBits: 8, correction: many(), scale: many(), bias: many(), activation: 'gelu' },
      residualCode: { scale: many(), offset: 128 },
      preActivation: { inverseStep: 2, step: 0.5, low: -128, high: 127 },
    },
    {
      ...{ name: 'norm', op: 'layernormCodes', x: codes(0, 6, 20), y: floats('output', 0, 6, 20), offset: 128, eps: 1 },
      ...{ shift: many(), gamma: many(), beta: many() },
    },
  ]
  return { batch: 2, arenaBytes: 8192, inputBytes: 4, outputBytes: 480, ops, blobs: blobs.list }
}

test('a plan of codes runs', async () => {
  const session = new Session(codedStream(), { threads: 2 })
  expect(await session.run(new Float32Array(3), 3)).toEqual(new Float32Array(3 * 120))
  session.dispose()
})

test.each<[string, Change, RegExp]>([
  ['codes as floats', ([prefix]) => delete prefix.codes, /'prefix' \(copyRows\): y rowStride is shorter than a row/],
  ['codes in words', ([prefix]) => (prefix.codes = 'yes'), /'prefix' \(copyRows\): codes must be true or false/],
  ['a code without residual', ([, sum]) => delete sum.residual, /'sum' \(linearCodes\): residualCode belongs to a residual/],
  ['offset of a residual', ([, sum]) => (sum.residualCode.offset = 1), /'sum' \(linearCodes\): residualCode offset must be 0 or 128/],
  [
    'short steps of a residual',
    ([, sum], plan) => (sum.residualCode.scale = { blob: plan.blobs.push(allocateBlob(64)) - 1, offset: 0 }),
    /'sum' \(linearCodes\): residualCode\.scale needs 128 bytes/,
  ],
  [
    'short steps of a target',
    ([, sum], plan) => (sum.encode.inverseSteps = { blob: plan.blobs.push(allocateBlob(64)) - 1, offset: 0 }),
    /'sum' \(linearCodes\): encode\.inverseSteps needs 128 bytes/,
  ],
  ['a rounding without step', ([, sum]) => (sum.preActivation.step = 0), /'sum' \(linearCodes\): preActivation steps must be positive/],
  ['levels of a rounding', ([, sum]) => (sum.preActivation.high = 256), /'sum' \(linearCodes\): preActivation levels must lie in/],
  ['offset of codes', ([, , norm]) => (norm.offset = 64), /'norm' \(layernormCodes\): offset must be 0 or 128/],
  [
    'short shifts',
    ([, , norm], plan) => (norm.shift = { blob: plan.blobs.push(allocateBlob(16)) - 1, offset: 0 }),
    /'norm' \(layernormCodes\): shift needs 20 bytes/,
  ],
  ['eps of codes', ([, , norm]) => (norm.eps = Number.POSITIVE_INFINITY), /'norm' \(layernormCodes\): eps must be finite/],
])('refused: %s', (_, change, message) => {
  expect(refusal(codedStream(), change)).toMatch(message)
})

test('refused: steps for columns of patches and of attention', () => {
  const inverseSteps = { blob: 0, offset: 0 }
  expect(refusal(everyOp(), ([cut]) => (cut.encode = { ...signed, inverseSteps }))).toMatch(
    /'cut' \(patchify\): encode must not have inverseSteps/,
  )
  expect(refusal(everyOp(), ([, , heads]) => (heads.encodeP.inverseSteps = inverseSteps))).toMatch(/encodeP must not have inverseSteps/)
})
