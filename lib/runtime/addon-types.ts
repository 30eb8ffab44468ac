/**
 * What the native addon offers to TypeScript. The addon has no policy: it trusts that views lie inside their space only as far as it
 * can check cheaply when a plan is created (and then throws); everything else is decided and validated here above.
 */

/** Where the bytes of a view lie. `blob` names constants and state by their index in {@link Plan.blobs}. */
export type Space = 'arena' | 'input' | 'output' | 'blob'

/**
 * A matrix of `rows` x `width` for each image of a run. All distances are in bytes. Row r of image b starts at
 * `offset + b * imageStride + r * rowStride`. A constant has `imageStride` 0.
 */
export interface View {
  space: Space
  blob?: number
  offset: number
  rowStride: number
  imageStride: number
  rows: number
  width: number
}

/** A constant array: 64-byte aligned bytes in a blob. */
export interface Constant {
  blob: number
  offset: number
}

/**
 * See native/ops/encode.h. `table` (512 bytes) is absent for consecutive levels; `inverseSteps` (a float a column, padded to a multiple of
 * 16) where all columns have one step. Only linear layers and LayerNorm take the latter.
 */
export interface PlanEncoder {
  inverseStep: number
  low: number
  high: number
  offset: number
  table?: Constant
  inverseSteps?: Constant
  /** With a table: the rows of an image, of which the first has all levels `low` .. `high`. */
  fineEvery?: number
}

/** A code that values pass through without being stored: Rounding in native/ops/encode.h. */
export interface PlanRounding {
  inverseStep: number
  step: number
  low: number
  high: number
}

/** See AttentionWindows in native/ops/attention.h. `rows` [count][tokens] names every row once; it may be absent when count is 1. */
export interface PlanWindows {
  count: number
  rows?: Int32Array
  /** float32 [heads][tokens][tokens] */
  bias?: Constant
  /** bytes [count][tokens] */
  regions?: Constant
}

export type PlanActivation = 'none' | 'gelu'
export type PlanFunction = 'identity' | 'gelu' | 'geluSlope'

/**
 * One kernel call. A target `y` holds codes (one byte an element) when `encode` is there, else float32. Field by field these are the
 * structs of native/ops. `name` is that of the (first) node that it computes; of an observer, a sum or a copy into the output, what was
 * asked for.
 */
export type PlanOp = { name: string } & (
  | {
      op: 'linearCodes'
      x: View
      y: View
      weight: Constant
      weightBits: number
      correction: Constant
      scale: Constant
      bias: Constant
      activation: PlanActivation
      gain?: Constant
      residual?: View
      /** When the residual is codes. scale: a step for each output, padded to a multiple of 16. */
      residualCode?: { scale: Constant; offset: number }
      preActivation?: PlanRounding
      /** A power of two for each output, padded to a multiple of 16. */
      preActivationFactors?: Constant
      encode?: PlanEncoder
    }
  | { op: 'linearF32'; x: View; y: View; weight: Constant; bias: Constant; activation: PlanActivation; gain?: Constant; residual?: View }
  | { op: 'layernorm'; x: View; y: View; gamma: Constant; beta: Constant; eps: number; encode?: PlanEncoder }
  | {
      op: 'layernormCodes'
      x: View
      y: View
      offset: number
      /** A byte a column. */
      shift?: Constant
      gamma: Constant
      beta: Constant
      eps: number
      encode?: PlanEncoder
    }
  | {
      op: 'attentionCodes'
      q: View
      k: View
      v: View
      y: View
      heads: number
      logitScale: Constant
      pInverseStep: Constant
      outputScale: Constant
      encodeP: PlanEncoder
      encode: PlanEncoder
      windows?: PlanWindows
      logitCode?: { inverseStep: number; step: number }
      relative: boolean
    }
  /** scale: [heads]. */
  | {
      op: 'attentionF32'
      q: View
      k: View
      v: View
      y: View
      heads: number
      scale: Constant
      probabilities?: View
      windows?: PlanWindows
    }
  /** x: `channels * height` rows of `width` floats an image. */
  | { op: 'patchify'; x: View; y: View; channels: number; patchHeight: number; patchWidth: number; encode?: PlanEncoder }
  | {
      op: 'pointwise'
      x: View
      y: View
      function: PlanFunction
      gain?: Constant
      factor?: View
      residual?: View
      encode?: PlanEncoder
    }
  | { op: 'layernormGradient'; x: View; gradient: View; y: View; gamma: Constant; eps: number; residual?: View }
  /** scale: [heads]; y: dL/dq, dL/dk and dL/dv side by side. */
  | {
      op: 'attentionGradient'
      q: View
      k: View
      v: View
      gradient: View
      y: View
      heads: number
      scale: Constant
      probabilities?: View
      windows?: PlanWindows
    }
  | { op: 'productSum'; a: View; b: View; sum: Constant }
  /** Of floats, or of codes. */
  | { op: 'copyRows'; x: View; y: View; codes?: true }
  /** rows: [rows of y][width of y / width of x]; elements are codes (1 byte) or floats (4); see native/ops/gather.h. */
  | { op: 'gather'; x: View; y: View; elementBytes: number; zero: number; rows: Int32Array }
  /** x holds codes when `decode` is there: scale is their step / rows. */
  | { op: 'mean'; x: View; y: View; decode?: { offset: number; scale: number }; encode?: PlanEncoder }
  | { op: 'observe'; x: View; state: Constant; sampleRows: number; sampleStride: number }
)

/**
 * A lowered graph. A pass over `ops` takes at most `batch` images: an arena has room for that many, and each thread may be in a pass of its
 * own. `inputBytes` and `outputBytes` are per image; every output view is written for every image.
 */
export interface Plan {
  batch: number
  arenaBytes: number
  inputBytes: number
  outputBytes: number
  ops: PlanOp[]
  blobs: NativeBlob[]
}

/** 64-byte aligned native memory, or a mapped file, freed when nothing refers to it any more. */
export interface NativeBlob {
  readonly byteLength: number
  /**
   * Copies bytes out (the state of observers; must not be called while a run that writes them is under way). Throws when the mapped file
   * was changed.
   */
  read(offset: number, target: Uint8Array): void
}

export interface NativeSession {
  /**
   * Queues a run and returns its number. `input` and `output` hold `images` times inputBytes and outputBytes. `nanoseconds` has an element
   * for each op, to which its time is added; with null nothing is measured. They belong to native code until `done` is called, so nobody
   * else may reach them. That happens exactly once and never before run returns: with null, or with an Error (code 'ABORTED' after cancel
   * or dispose, 'REFUSED' when a value of the input is not finite). `progress` gets the number of images finished, at most 20 times a
   * second.
   */
  run(
    input: Float32Array,
    output: Float32Array,
    images: number,
    threads: number,
    nanoseconds: Float64Array | null,
    progress: ((images: number) => void) | null,
    done: (error: Error | null) => void,
  ): number
  cancel(run: number): void
  /** Cancels what is queued or running and frees the arenas. Idempotent. */
  dispose(): void
}

export interface NativePath {
  name: 'portable' | 'avx2' | 'avxvnni' | 'avx512vnni' | 'amx'
  built: boolean
  runs: boolean
  reason: string
}

export interface NativeCuda {
  /** Whether the file of kernels lies beside the addon. */
  built: boolean
  /** Why there are no devices; '' when there are. */
  reason: string
  /** In the order of the driver's numbers. */
  devices: {
    name: string
    /** Compute capability, '8.0'. */
    capability: string
    memory: number
    runs: boolean
    /** Why it does not run, or what it is. */
    reason: string
  }[]
}

export interface Addon {
  version: string
  /** Which compiler and options built this addon, in one line. */
  build: string
  /** The file that it was loaded from; empty when the system does not tell. */
  file: string
  paths(): NativePath[]
  /** Opens the CUDA driver and tries every device: makes its context, which stays, and loads the kernels. */
  cuda(): NativeCuda
  /** Threads that this process may use (affinity mask, then cgroup quota), and where the number comes from. */
  defaultThreads(): { threads: number; reason: string }
  createBlob(bytes: Uint8Array): NativeBlob
  /** Zeroed. */
  allocateBlob(byteLength: number): NativeBlob
  /**
   * The file, read in place, see native/plan/mapped_file.h. The descriptor may be closed afterwards. Throws where files cannot be mapped:
   * read it instead.
   */
  mapFile(descriptor: number): NativeBlob
  /** A part of a blob, which lives on with it. offset: a multiple of 64. */
  sliceBlob(blob: NativeBlob, offset: number, byteLength: number): NativeBlob
  /**
   * path: a name of {@link paths}, '' for the fastest that runs, or 'cuda:0', a device of {@link cuda}. Runs of up to `threads` threads
   * allocate nothing, but for the first on a device, which allocates its memory. Throws when the plan does not fit its buffers, or the
   * device cannot be used.
   */
  createSession(plan: Plan, path: string, threads: number): NativeSession
  /** For the ops that paths implement apart, the slowest path with the same implementation as that of this name, which has to be built. */
  kernelOrigins(path: string): Partial<Record<PlanOp['op'], NativePath['name']>>
  /** Operations a second of one core with the instructions of a path that runs here, see native/cpu/peaks.h; takes some 20 milliseconds. */
  measurePeaks(path: string): { int8: number; floats: number }
  /** Bytes a second that reading a buffer of so many bytes again and again gives. */
  measureReadSpeed(bytes: number): number
  packedBytes(outputs: number, inputs: number, bits: number): number
  /** native/format/packed_weight.h. codes: row-major [outputs][inputs], signed. */
  packWeight(codes: Int8Array, outputs: number, inputs: number, bits: number): Uint8Array
  unpackWeight(packed: Uint8Array, outputs: number, inputs: number, bits: number): Int8Array
  /** For each output the sum of its codes. Throws when the mapped file was changed. */
  sumWeight(packed: NativeBlob, outputs: number, inputs: number, bits: number): Int32Array
  /** Whether the padding is zero; reads little else. Throws when the mapped file was changed, where there is any. */
  isPadded(packed: NativeBlob, outputs: number, inputs: number, bits: number): boolean
  /** The index of the first value that is not in [low, high], as NaN is not; -1: there is none. Bounds are rounded to float32. */
  firstOutside(values: Float32Array, low: number, high: number): number
  /** Of a JSON text how deep it nests, at most how many values it has, and how many members its outermost object has. */
  jsonBounds(text: string | Uint8Array): [depth: number, values: number, members: number]
}
