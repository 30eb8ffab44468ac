import addon from '#addon'
import type { NativePath, NativeSession, Plan, PlanOp } from './addon-types.js'
import { chooseDevice, choosePath, type DeviceName } from './devices.js'
import { InputCopier, withoutCopy } from './input.js'
import { chooseThreads } from './threads.js'

export interface SessionOptions {
  /** Default: the CPU. */
  device?: DeviceName
  /** One of the paths that `devices()` lists; default: FEWBIT_ISA, else the fastest that runs. */
  path?: string
  /** Default: what this process may use. */
  threads?: number
}

export interface SessionRunOptions {
  /**
   * Looked at before every task, a small part of an op (on a CUDA device before every pass, a batch of images); a run in the queue ends at
   * once. It rejects with the signal's reason.
   */
  signal?: AbortSignal
  /** Images done: growing, at most 20 times a second, and at the end all of them. What it throws stops the run. */
  onProgress?: (images: number) => void
  /** Instead of the threads of the session. */
  threads?: number
  /** Nobody will write to the input or transfer it before the promise settles: threads read it where it is. Default false: it is copied. */
  lent?: boolean
}

/** What one op of a plan took. */
export interface OpTime {
  op: PlanOp['op']
  /** The name of the op: that of the first node that it computes. */
  name: string
  /**
   * Time of all its calls, one for every batch of images, from the first task to the last, over the number of threads where each made
   * calls of its own; on a CUDA device between two events around it.
   */
  nanoseconds: number
}

/**
 * A plan with its working memory. Runs of all sessions of a process are executed one after the other, in the order of the calls, on
 * threads of the package's own.
 */
export class Session {
  readonly device: 'cpu' | `cuda:${number}`
  /** The path that it runs on, on the CPU. */
  readonly path: NativePath['name']
  readonly threads: number
  private readonly imageInputs: number
  private readonly imageOutputs: number
  private readonly inputs = new InputCopier()
  private readonly ops: Pick<OpTime, 'op' | 'name'>[]
  private native: NativeSession | null

  /** @throws Error when the path does not run here, or the plan does not hold; the message names the op */
  constructor(plan: Plan, { device, path, threads }: SessionOptions = {}) {
    this.threads = chooseThreads(threads)
    this.device = chooseDevice(device)
    this.path = choosePath(path)
    this.imageInputs = plan.inputBytes / Float32Array.BYTES_PER_ELEMENT
    this.imageOutputs = plan.outputBytes / Float32Array.BYTES_PER_ELEMENT
    this.ops = plan.ops.map(({ op, name }) => ({ op, name }))
    this.native = ownErrors(() => addon.createSession(plan, this.device === 'cpu' ? this.path : this.device, this.threads))
  }

  /**
   * @param input the floats of all images; copied first unless it is lent, in slices when there are many, so leave it as it is until the
   *   promise settles
   * @returns the outputs of all images
   * @throws RangeError when a value is not finite, which codes could not tell
   */
  run(input: Float32Array, images: number, options: SessionRunOptions = {}): Promise<Float32Array> {
    return this.start(input, images, options, null)
  }

  /**
   * Runs as {@link run} does and takes the time of each op; looking at the clock twice an op is all that it adds.
   *
   * @returns the ops of the plan in order, and what a run returns
   */
  async profile(input: Float32Array, images: number, options: SessionRunOptions = {}): Promise<{ times: OpTime[]; output: Float32Array }> {
    const nanoseconds = new Float64Array(this.ops.length)
    const output = await this.start(input, images, options, nanoseconds)
    return { times: this.ops.map((op, i) => ({ ...op, nanoseconds: nanoseconds[i] })), output }
  }

  private async start(
    input: Float32Array,
    images: number,
    options: SessionRunOptions,
    nanoseconds: Float64Array | null,
  ): Promise<Float32Array> {
    const { signal, onProgress, lent } = options
    const threads = options.threads === undefined ? this.threads : chooseThreads(options.threads)
    signal?.throwIfAborted()
    if (this.native === null) throw disposedError()
    if (!(Number.isSafeInteger(images) && images >= 0)) throw new RangeError(`images must be an integer, not ${images}`)
    if (Object.prototype.toString.call(input) !== '[object Float32Array]') throw new TypeError('the input must be a Float32Array')
    if (input.length !== images * this.imageInputs) {
      throw new RangeError(`the input has ${input.length} values, ${images} images need ${images} x ${this.imageInputs}`)
    }
    const output = new Float32Array(images * this.imageOutputs)
    const run = (floats: Float32Array) => this.queue({ input: floats, output, images, threads, nanoseconds, signal, onProgress })
    if (images > 0) await (lent ? withoutCopy(signal, () => run(input)) : this.inputs.lend(input, signal, run))
    return output
  }

  private queue(job: Queued): Promise<void> {
    const { input, output, images, threads, nanoseconds, signal, onProgress } = job
    const native = this.native
    if (native === null) throw disposedError()
    return new Promise((resolve, reject) => {
      let reported = -1
      let failure: { error: unknown } | null = null
      const report = (done: number): void => {
        if (failure || signal?.aborted || done <= reported) return
        reported = done
        try {
          onProgress?.(done)
        } catch (error) {
          failure = { error }
          native.cancel(run)
        }
      }
      // The arrays belong to native code until it calls, also after an abort: so the promise waits for it.
      const done = (error: (Error & { code?: string }) | null): void => {
        signal?.removeEventListener('abort', abort)
        if (error === null) report(images)
        if (failure) reject(failure.error)
        else if (signal?.aborted) reject(signal.reason)
        else if (error === null) resolve()
        else reject(runError(error))
      }
      const abort = (): void => native.cancel(run)
      const run = ownErrors(() => native.run(input, output, images, threads, nanoseconds, onProgress ? report : null, done))
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  /** Frees the working memory; queued and running runs reject. Idempotent. */
  dispose(): void {
    const native = this.native
    this.native = null
    native?.dispose()
  }

  // A Node without these symbols gets a useless method called 'undefined'.
  [Symbol.dispose](): void {
    this.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose()
  }
}

interface Queued extends SessionRunOptions {
  input: Float32Array
  output: Float32Array
  images: number
  threads: number
  nanoseconds: Float64Array | null
}

/** What a run that native code ended rejects with. */
function runError(error: Error & { code?: string }): Error {
  if (error.code === 'ABORTED') return disposedError()
  return error.code === 'REFUSED' ? new RangeError(error.message) : new Error(error.message, { cause: error })
}

const disposedError = (): Error => new Error('the session was disposed')

/** Errors made in native code belong to the main realm; those of this package to its own, where instanceof works. */
function ownErrors<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw new Error((error as Error).message, { cause: error })
  }
}
