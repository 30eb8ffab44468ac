import type { Graph } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import type { Scheme } from '../../lib/graph/scheme.js'
import { loadBatch } from '../../lib/images/batch.js'
import { openDataset } from '../../lib/images/dataset.js'
import { load } from '../../lib/index.js'
import { buildGraph } from '../../lib/models/index.js'
import type { Constant, Plan, PlanEncoder, PlanOp, View } from '../../lib/runtime/addon-types.js'
import { createBlob } from '../../lib/runtime/blobs.js'
import { Session } from '../../lib/runtime/session.js'
import { describeOnDevice, hasDevice } from '../support/cuda.js'
import { goldenSource, readGolden, unit } from '../support/golden.js'
import { simpleScheme } from '../support/random-scheme.js'
import { describeWith, shared } from '../support/shared.js'
import { smallSwin } from '../support/small-swin.js'
import { smallVit } from '../support/small-vit.js'

/** Every op of whole models on a CUDA device, or on a simulator of its driver, fed with what the CPU has in memory before it. */

const describeCuda = describeOnDevice()

/** Of the largest value: what sums of floats in another order are apart. */
const FLOAT_ROUNDING = 1e-5
/** Of the codes of an op, those that are a step apart. */
const MOST_MOVED = 0.01

const inputFloats = (plan: Plan): number => plan.inputBytes / Float32Array.BYTES_PER_ELEMENT
const round64 = (bytes: number): number => Math.ceil(bytes / 64) * 64

const whole = (space: View['space'], offset: number, bytes: number, blob?: number): View => ({
  ...{ space, offset, rowStride: bytes, imageStride: space === 'blob' ? 0 : bytes, rows: 1, width: bytes },
  ...(blob !== undefined && { blob }),
})

/**
 * A plan of some ops of another one, which finds `arena` as they do and returns the output and, behind it, what is in the arena afterwards.
 */
function partOf(plan: Plan, ops: PlanOp[], arena: Uint8Array): Plan {
  const bytes = arena.length
  const behind = round64(plan.outputBytes)
  const outputBytes = behind + bytes
  const saved = { ...whole('output', behind, bytes), imageStride: outputBytes }
  return {
    ...plan,
    outputBytes,
    blobs: [...plan.blobs, createBlob(arena)],
    ops: [
      { op: 'copyRows', name: 'before', x: whole('blob', 0, bytes, plan.blobs.length), y: whole('arena', 0, bytes), codes: true },
      ...ops.map(
        (op): PlanOp => ({ ...op, ...('y' in op && { y: op.y.space === 'output' ? { ...op.y, imageStride: outputBytes } : op.y }) }),
      ),
      { op: 'copyRows', name: 'behind', x: whole('arena', 0, bytes), y: saved, codes: true },
    ],
  }
}

async function run(plan: Plan, image: Float32Array, device: 'cpu' | 'cuda'): Promise<Uint8Array> {
  const session = new Session(plan, { device })
  try {
    return new Uint8Array((await session.run(image, 1)).buffer)
  } finally {
    session.dispose()
  }
}

/** All levels in the first row of every image, where an op can have them. */
function withFineRows(plan: Plan): Plan {
  const fine = (code: PlanEncoder, { rows }: View): PlanEncoder => (code.table ? { ...code, fineEvery: rows } : code)
  const ops = plan.ops.map((op): PlanOp => {
    if (op.op === 'attentionCodes') return { ...op, encode: fine(op.encode, op.y), encodeP: fine(op.encodeP, op.q) }
    if (op.op !== 'linearCodes' && op.op !== 'layernorm' && op.op !== 'layernormCodes') return op
    return op.encode ? { ...op, encode: fine(op.encode, op.y) } : op
  })
  return { ...plan, ops }
}

/** Ops that a device does with one launch, since they are linear layers of the same rows, stay together. */
function launches({ ops }: Plan): PlanOp[][] {
  const groups: PlanOp[][] = []
  for (const op of ops) {
    const last = groups.at(-1)?.[0]
    const joins = last?.op === 'linearCodes' && op.op === 'linearCodes' && JSON.stringify(last.x) === JSON.stringify(op.x)
    if (joins) groups.at(-1)?.push(op)
    else groups.push([op])
  }
  return groups
}

function read({ blobs }: Plan, { blob, offset }: Constant, byteLength: number): Uint8Array {
  const bytes = new Uint8Array(byteLength)
  blobs[blob].read(offset, bytes)
  return bytes
}

/** The bytes that a code has for its levels, growing. */
const levelsOf = ({ table, low, high, offset }: PlanEncoder, plan: Plan): number[] =>
  table ? [...new Set(read(plan, table, 512))].sort((a, b) => a - b) : Array.from({ length: high - low + 1 }, (_, i) => low + i + offset)

/** The place of each byte among the levels of a code. */
function ranks(code: PlanEncoder, plan: Plan): number[] {
  const levels = levelsOf(code, plan)
  return Array.from({ length: 256 }, (_, byte) => levels.indexOf(byte))
}

/** What a result moves by when a probability beside the middle of two levels becomes the other one, with the largest value there is. */
function stepsOfAttention(op: PlanOp & { op: 'attentionCodes' }, plan: Plan): number {
  const levels = levelsOf(op.encodeP, plan)
  const widest = levels.reduce((most, level, i) => Math.max(most, level - (levels[i - 1] ?? level)), 0)
  const perHead = (constant: Constant) => new Float32Array(read(plan, constant, op.heads * Float32Array.BYTES_PER_ELEMENT).buffer)
  const most = widest * Math.max(...perHead(op.outputScale)) * op.encode.inverseStep
  // Relative codes are divided by their sum, which is that of the largest weight at least and moves with them: (v - y) / sum, and bytes are 255 apart.
  const whole = Math.min(levels.at(-1) as number, Math.floor(Math.min(...perHead(op.pInverseStep))))
  return Math.ceil(op.relative ? (most * 255) / whole : most * 128)
}

const rowsOf = ({ space, offset, rowStride, rows, width }: View, element: number, memory: Uint8Array, arena: number): Uint8Array[] =>
  Array.from({ length: rows }, (_, r) => {
    const begin = (space === 'arena' ? arena : 0) + offset + r * rowStride
    return memory.slice(begin, begin + width * element)
  })

const floatsOf = (rows: Uint8Array[]): number[] => rows.flatMap((row) => [...new Float32Array(row.buffer)])

function expectNear(op: PlanOp & { y: View }, plan: Plan, expected: Uint8Array, found: Uint8Array): void {
  const arena = round64(plan.outputBytes)
  const encode = 'encode' in op ? op.encode : undefined
  const copied = op.op === 'copyRows' || op.op === 'gather'
  const element = encode || (op.op === 'copyRows' && op.codes) ? 1 : op.op === 'gather' ? op.elementBytes : 4
  const [cpu, device] = [expected, found].map((memory) => rowsOf(op.y, element, memory, arena))
  if (copied) {
    expect({ op: op.name, rows: device }).toEqual({ op: op.name, rows: cpu })
  } else if (encode) {
    const rank = ranks(encode, plan)
    const rankOfFine = ranks({ ...encode, table: undefined }, plan)
    const apart = cpu.flatMap((row, r) => {
      const place = encode.fineEvery && r % encode.fineEvery === 0 ? rankOfFine : rank
      return [...row].map((byte, i) => Math.abs(place[byte] - place[device[r][i]]))
    })
    const moved = apart.filter((steps) => steps > 0)
    const allowed = op.op === 'attentionCodes' ? stepsOfAttention(op, plan) : 1
    expect({ op: op.name, tooFar: moved.filter((steps) => steps > allowed) }).toEqual({ op: op.name, tooFar: [] })
    expect(moved.length / apart.length).toBeLessThanOrEqual(MOST_MOVED)
  } else {
    const [a, b] = [cpu, device].map(floatsOf)
    const largest = a.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
    const apart = a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0) / largest
    expect({ op: op.name, apart, near: apart <= FLOAT_ROUNDING }).toEqual({ op: op.name, apart, near: true })
  }
}

async function expectOps(graph: Graph, scheme: Scheme | null, pixels: Float32Array, change = (plan: Plan) => plan): Promise<void> {
  const plan = change(lower(graph, scheme, { batch: 1 }).plan)
  const floats = inputFloats(plan)
  for (let first = 0; first < pixels.length; first += floats) {
    const image = pixels.subarray(first, first + floats)
    let arena: Uint8Array = new Uint8Array(plan.arenaBytes)
    for (const ops of launches(plan)) {
      const part = partOf(plan, ops, arena)
      const expected = await run(part, image, 'cpu')
      const found = await run(part, image, 'cuda')
      for (const op of ops) expectNear(op as PlanOp & { y: View }, plan, expected, found)
      arena = expected.slice(round64(plan.outputBytes))
    }
  }
}

const imageSize = (graph: Graph): number => {
  const edge = graph.edges.get(graph.input)
  return (edge?.rows as number) * (edge?.width as number)
}

describeCuda.each([
  ['ViT', smallVit],
  ['Swin', smallSwin],
])('ops of a small %s with odd shapes', (_, make) => {
  test.each(['partial', 'full'] as const)('are at most one step apart, %s coverage', async (coverage) => {
    const graph = await make()
    const pixels = unit('pixels', 2 * imageSize(graph))
    const scheme = simpleScheme(graph, pixels.subarray(0, imageSize(graph)), coverage)
    await expectOps(graph, scheme, pixels)
    await expectOps(graph, scheme, pixels, withFineRows)
  })
})

describeCuda('ops of DeiT-Tiny, 224 x 224, codes of all widths', () => {
  test('are at most one step apart on two images', async () => {
    const { config, tensors } = readGolden('hf-deit-tiny')
    const graph = await buildGraph({ config, tensors: goldenSource(tensors) })
    const pixels = unit('hf-deit-tiny/pixel_values', 2 * imageSize(graph))
    await expectOps(graph, simpleScheme(graph, pixels.subarray(0, imageSize(graph))), pixels)
  }, 300_000)
})

// Without a device nothing is said of the folder.
const describeZoo = (path: string) => (hasDevice ? describeWith(path) : describeCuda)

for (const name of ['vit-cifar10', 'swin-cifar10']) {
  describeZoo(`zoo/${name}`)(`ops of ${name}`, () => {
    test.each(['partial', 'full'] as const)('are at most one step apart on a photograph, %s coverage', async (coverage) => {
      const model = await load(shared('zoo', name))
      const { graph, preprocessing } = model.parts
      const pixels = await loadBatch(await openDataset(shared('cifar10/test_batch.bin')), [0], preprocessing)
      await expectOps(graph, simpleScheme(graph, pixels, coverage), pixels)
      model.dispose()
    })
  })
}
