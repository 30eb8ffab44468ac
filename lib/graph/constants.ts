import type { Constant, View } from '../runtime/addon-types.js'
import { createBlob, isPadded, type NativeBlob, sumWeight } from '../runtime/blobs.js'
import { ALIGNMENT, align } from './arena.js'
import type { Graph, Tensor } from './graph.js'
import type { Scheme, WeightCode } from './scheme.js'

/**
 * The constants of a plan in native memory. Weights are copied there once and shared by every plan that uses the same tensor or code
 * object; small constants of a plan lie together in one blob.
 */

/** Outputs of a float weight that lie side by side, see LinearF32 in native/ops/linear.h. */
const PANEL = 16
/** Elements touched between two chances for the event loop, a few milliseconds. */
const SLICE = 1 << 18

const floatWeights = new WeakMap<Tensor, NativeBlob>()
const transposedWeights = new WeakMap<Tensor, NativeBlob>()
const storedCodes = new WeakMap<WeightCode, NativeBlob>()
const codedWeights = new WeakMap<WeightCode, { blob: NativeBlob; rowSums: Int32Array }>()

export class ConstantPool {
  readonly blobs: NativeBlob[] = []
  private readonly parts: { bytes: Uint8Array; place: { blob?: number; offset: number } }[] = []
  private readonly indices = new Map<NativeBlob, number>()
  private bytes = 0

  /** A constant that only this plan uses. Its place is known after {@link finish}. */
  add(values: Float32Array | Int32Array | Uint8Array): Constant {
    return this.place(values, { blob: -1, offset: this.bytes })
  }

  /** A matrix that is the same for every image. Its place is known after {@link finish}. */
  addRows({ shape: [rows, width], data }: { shape: number[]; data: Float32Array | Uint8Array }): View {
    const rowStride = width * data.BYTES_PER_ELEMENT
    return this.place(data, { space: 'blob', blob: -1, offset: this.bytes, rowStride, imageStride: 0, rows, width })
  }

  /** The start of a blob of its own. */
  share(blob: NativeBlob): Constant {
    let index = this.indices.get(blob)
    if (index === undefined) {
      index = this.blobs.push(blob) - 1
      this.indices.set(blob, index)
    }
    return { blob: index, offset: 0 }
  }

  finish(): void {
    const all = new Uint8Array(Math.max(this.bytes, ALIGNMENT))
    const blob = this.blobs.length
    for (const { bytes, place } of this.parts) {
      all.set(bytes, place.offset)
      place.blob = blob
    }
    this.blobs.push(createBlob(all))
  }

  private place<Place extends Constant | View>(values: Float32Array | Int32Array | Uint8Array, place: Place): Place {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    this.parts.push({ bytes, place })
    this.bytes += align(bytes.length)
    return place
  }
}

/** [outputs][inputs] as [outputs / 16][inputs][16], or transposed as [inputs / 16][outputs][16]. */
export function floatWeightBlob(tensor: Tensor, transposed = false): NativeBlob {
  const steps = transposed ? packTransposed(tensor) : packFloats(tensor)
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}

/** Yields after about {@link SLICE} elements. */
function* packFloats(tensor: Tensor): Generator<void, NativeBlob> {
  const known = floatWeights.get(tensor)
  if (known) return known
  const { data, shape } = tensor
  const [outputs, inputs] = shape
  const packed = new Float32Array(Math.ceil(outputs / PANEL) * inputs * PANEL)
  let touched = 0
  for (let first = 0; first < outputs; first += PANEL) {
    const rows = Math.min(PANEL, outputs - first)
    for (let i = 0; i < inputs; i++) {
      const target = first * inputs + i * PANEL
      for (let n = 0; n < rows; n++) packed[target + n] = data[(first + n) * inputs + i]
    }
    touched += rows * inputs
    if (touched < SLICE) continue
    touched = 0
    yield
  }
  const blob = createBlob(new Uint8Array(packed.buffer))
  floatWeights.set(tensor, blob)
  return blob
}

/** Yields after about {@link SLICE} elements. */
function* packTransposed(tensor: Tensor): Generator<void, NativeBlob> {
  const known = transposedWeights.get(tensor)
  if (known) return known
  const { data, shape } = tensor
  const [outputs, inputs] = shape
  const packed = new Float32Array(Math.ceil(inputs / PANEL) * outputs * PANEL)
  for (let o = 0; o < outputs; o++) {
    const row = data.subarray(o * inputs, (o + 1) * inputs)
    for (let i = 0; i < inputs; i++) packed[(Math.floor(i / PANEL) * outputs + o) * PANEL + (i % PANEL)] = row[i]
    if ((o + 1) % Math.ceil(SLICE / inputs) === 0) yield
  }
  const blob = createBlob(new Uint8Array(packed.buffer))
  transposedWeights.set(tensor, blob)
  return blob
}

/**
 * The packed codes, and for each output the sum of its codes.
 *
 * @throws Error when the padding of the codes is not zero, on which kernels count
 */
export function codedWeightBlob(code: WeightCode): { blob: NativeBlob; rowSums: Int32Array } {
  const known = codedWeights.get(code)
  if (known) return known
  const blob = storedCodes.get(code) ?? createBlob(code.packed)
  checkPadding(blob, code)
  const made = { blob, rowSums: sumWeight(blob, code.outputs, code.inputs, code.bits) }
  codedWeights.set(code, made)
  return made
}

/** @throws Error when the padding of the codes is not zero */
export function checkPadding(blob: NativeBlob, { outputs, inputs, bits }: Omit<WeightCode, 'packed'>): void {
  if (!isPadded(blob, outputs, inputs, bits)) throw new Error('the padding of its codes is not zero')
}

/** A weight whose packed codes are in native memory and are read there; `packed` is a new copy each time. */
export function storedWeight(blob: NativeBlob, code: Omit<WeightCode, 'packed'>): WeightCode {
  const stored: WeightCode = {
    ...code,
    get packed() {
      const bytes = new Uint8Array(blob.byteLength)
      blob.read(0, bytes)
      return bytes
    },
  }
  storedCodes.set(stored, blob)
  return stored
}

/** The length of `packed`, without making it. */
export function packedLength(code: WeightCode): number {
  return storedCodes.get(code)?.byteLength ?? code.packed.length
}

/**
 * Copies float weights to native memory and sums the rows of coded ones beforehand, without holding up the event loop for more than one
 * of them, so that lowering is quick.
 */
export async function prepareWeights(graph: Graph, scheme: Scheme | null, signal?: AbortSignal): Promise<void> {
  for (const node of graph.nodes) {
    if (node.op !== 'linear' && node.op !== 'linearGradient') continue
    const code = node.op === 'linear' ? scheme?.weights.get(node.weight) : undefined
    const tensor = graph.constants.get(node.weight)
    const pack = node.op === 'linear' ? packFloats : packTransposed
    const steps = code || !tensor ? null : pack(tensor)
    if (code) codedWeightBlob(code)
    do {
      await new Promise((resolve) => setImmediate(resolve))
      signal?.throwIfAborted()
    } while (steps && !steps.next().done)
  }
}

/** [outputs], or zeros; padded with zeros to whole panels. */
export function padOutputs(values: ArrayLike<number> | null, outputs: number): Float32Array {
  const padded = new Float32Array(Math.ceil(outputs / PANEL) * PANEL)
  if (values) padded.set(values)
  return padded
}
