import { writeContainer } from '../checkpoint/container.js'
import { prepareWeights } from '../graph/constants.js'
import type { Graph } from '../graph/graph.js'
import { lower } from '../graph/lower.js'
import type { Scheme } from '../graph/scheme.js'
import type { Dataset } from '../images/dataset.js'
import type { ImageInput } from '../images/image.js'
import type { Preprocessing } from '../images/preprocess.js'
import { chooseDevice, choosePath, type DeviceName } from '../runtime/devices.js'
import { Session } from '../runtime/session.js'
import { checkOptionsOf, kindOf } from '../values.js'
import { type Advice, adviceLines, slowLayers } from './advice.js'
import { type BenchmarkOptions, type BenchmarkResult, benchmark } from './benchmark.js'
import { type Classification, type ClassifyOptions, classify } from './classify.js'
import { rowsInFlight } from './device.js'
import { type Evaluation, evaluate } from './evaluate.js'
import { describe, type ModelInfo } from './info.js'
import { RUN_OPTIONS } from './known-options.js'
import { type Profile, type ProfileOptions, profile } from './profile.js'
import { type Quantization, quantizationToJson } from './quantization.js'

/** Where and how a model runs. */
export interface DeviceOptions {
  /**
   * 'cpu' (default); 'cuda', the first device, or 'cuda:1' (throws when it cannot be used); 'auto', the first CUDA device that runs, else
   * the CPU, with one warning that says why.
   */
  device?: DeviceName
  /** 1..256; default: what the affinity mask and the cgroup quota allow. */
  threads?: number
  /** One of the paths that `devices()` lists; default: FEWBIT_ISA, else the fastest. */
  isa?: string
  /**
   * Told in front of the first run which layers fall to a slow path on this machine, and why: all layers with the same reason in one
   * message.
   */
  onWarning?: (message: string) => void
}

export interface RunOptions {
  threads?: number
  /**
   * Looked at before every task, a small part of an op (on a CUDA device before every pass, a batch of images): a run ends when tasks that
   * were begun are done, one in the queue at once. The promise is rejected with signal.reason.
   */
  signal?: AbortSignal
  onProgress?: (progress: { stage: string; done: number; total: number }) => void
}

/** What a model is made of; `scheme` is null for a float model. */
export interface ModelParts {
  graph: Graph
  scheme: Scheme | null
  preprocessing: Preprocessing
  labels: string[]
  /** How it was quantized, where that is known. */
  quantization?: Quantization | null
}

/**
 * A vision model, float or quantized, ready to run. Made by `load`, `quantize` or `randomModel`.
 *
 * Runs of one or of several models queue in order and share one set of threads. `dispose` frees native memory at once.
 */
export class Model {
  readonly parts: ModelParts
  readonly device: DeviceOptions
  private session: Session | null = null
  private disposed = false

  constructor(parts: ModelParts, device: DeviceOptions = {}) {
    this.parts = parts
    this.device = device
  }

  /** Class names; index = class. */
  get labels(): string[] {
    return this.parts.labels
  }

  get quantized(): boolean {
    return this.parts.scheme !== null
  }

  /** How it was quantized; null for a float model, and for files that do not say. */
  get quantization(): Quantization | null {
    return this.parts.quantization ?? null
  }

  /** Shape of one input image. */
  get input(): { channels: number; height: number; width: number } {
    const { channels, height, width } = this.parts.preprocessing
    return { channels, height, width }
  }

  /**
   * @param pixels [images][channels][height][width], normalised as the checkpoint wants it; to be left alone until the promise settles
   * @returns logits [images][classes]
   * @throws RangeError when the number of pixels is not that of `images` images, or one of them is not finite; TypeError for an unknown
   *   option, here as in all calls
   */
  async run(pixels: Float32Array, images: number, options: RunOptions = {}): Promise<Float32Array> {
    checkOptionsOf('run', options, RUN_OPTIONS)
    const { channels, height, width } = this.input
    const expected = images * channels * height * width
    if (!Number.isInteger(images) || images < 1) throw new RangeError(`images must be a positive integer, not ${images}`)
    if (!ArrayBuffer.isView(pixels)) throw new TypeError(`pixels must be a Float32Array, not ${kindOf(pixels)}`)
    if (pixels.length !== expected) {
      throw new RangeError(`${images} images of ${channels}x${height}x${width} are ${expected} values, but pixels has ${pixels.length}`)
    }
    return (await this.open(options.signal)).run(pixels, images, {
      threads: options.threads,
      signal: options.signal,
      onProgress: (done) => options.onProgress?.({ stage: 'run', done, total: images }),
    })
  }

  /** The `top` (default 5) most probable classes of each image, most probable first. */
  classify(images: ImageInput | ImageInput[], options: ClassifyOptions = {}): Promise<Classification[][]> {
    return classify(this, Array.isArray(images) ? images : [images], options)
  }

  /**
   * Accuracy on labelled images. `msPerImage` is the time of the model alone, without reading and resizing.
   *
   * @param data a dataset, or a path that `openDataset` understands
   */
  evaluate(data: string | Dataset, options: RunOptions = {}): Promise<Evaluation> {
    return evaluate(this, data, options)
  }

  /** Times runs on seeded random input. */
  benchmark(options: BenchmarkOptions = {}): Promise<BenchmarkResult> {
    return benchmark(this, options)
  }

  /** Where the time goes: every op on seeded random input, beside the least that this machine would need. */
  profile(options: ProfileOptions = {}): Promise<Profile> {
    return profile(this, options)
  }

  /** Layers that this machine runs on a slow path, and why; none on a CUDA device. For what a run tells, see {@link profile}. */
  async advice(): Promise<Advice[]> {
    const { graph, scheme } = this.parts
    if (chooseDevice(this.device.device) !== 'cpu') return []
    await prepareWeights(graph, scheme)
    return slowLayers(lower(graph, scheme).plan, choosePath(this.device.isa))
  }

  /** Sizes, average bits, and the code of every operand. */
  info(): ModelInfo {
    return describe(this.parts)
  }

  /**
   * Writes a quantized model to a .fewbit file, completely or not at all (temporary file, fsync, rename).
   *
   * @throws Error for a float model: its checkpoint is its file
   */
  async save(file: string): Promise<{ bytes: number }> {
    const { graph, scheme, preprocessing, labels, quantization } = this.parts
    if (scheme === null) throw new Error('a float model has nothing to save but its checkpoint: quantize it first')
    return {
      bytes: await writeContainer(file, { graph, scheme, preprocessing, labels, report: quantization && quantizationToJson(quantization) }),
    }
  }

  /** Frees native memory; what is running rejects. Idempotent. */
  dispose(): void {
    this.disposed = true
    this.session?.dispose()
    this.session = null
  }

  private async open(signal?: AbortSignal): Promise<Session> {
    const { graph, scheme } = this.parts
    if (this.session === null) await prepareWeights(graph, scheme, signal)
    if (this.disposed) throw new Error('this model was disposed')
    if (this.session === null) {
      const { device, isa, threads, onWarning } = this.device
      const { plan } = lower(graph, scheme, { rows: rowsInFlight(device) })
      this.session = new Session(plan, { device, path: isa, threads })
      if (onWarning && this.session.device === 'cpu') adviceLines(slowLayers(plan, this.session.path)).forEach(onWarning)
    }
    return this.session
  }
}
