import { prepareWeights } from '../graph/constants.js'
import { lower } from '../graph/lower.js'
import { type Work, workOf } from '../graph/work.js'
import { checkSeed, randomValues } from '../random.js'
import type { NativePath, Plan, PlanOp } from '../runtime/addon-types.js'
import { measurePeaks, type Peaks, readSpeed } from '../runtime/peaks.js'
import { Session } from '../runtime/session.js'
import { checkOptionsOf, type Known } from '../values.js'
import { type Advice, adviceFor } from './advice.js'
import { checkTimedRuns, RUN_OPTIONS } from './known-options.js'
import type { Model } from './model.js'
import { median } from './statistics.js'

/**
 * Where the time of a model goes, op by op, beside the least that this machine would need.
 */

export interface ProfileOptions {
  /** Images a run, 1 to 4096; default 1. */
  batch?: number
  /** Timed runs after the warm-up, from 1 on; default 20. */
  runs?: number
  /** Default: those of the model. */
  threads?: number
  /** Fixes the input, 0 .. 2^32 - 1; default 0. */
  seed?: number
  signal?: AbortSignal
  onProgress?: (progress: { stage: string; done: number; total: number }) => void
}

export interface ProfiledOp extends Work {
  op: PlanOp['op']
  /** The first node that it computes. */
  name: string
  /** Of a weight; null for what has none, 32 for floats. */
  weightBits: number | null
  /** Median over the runs of the time of its calls, over the number of threads where each made calls of its own. */
  milliseconds: number
  /** The least time that the roofs allow, as a fraction of what it took. */
  roofline: number
  /** What the roof is made of. */
  bound: 'operations' | 'bytes'
}

export interface Profile {
  path: NativePath['name']
  threads: number
  batch: number
  runs: number
  /** Sum of all ops. */
  msPerImage: number
  /** Of one core. */
  peaks: Peaks
  ops: ProfiledOp[]
  /** Layers that are slower than they could be, and why. */
  advice: Advice[]
}

const KNOWN: Known<ProfileOptions> = { ...RUN_OPTIONS, batch: true, runs: true, seed: true }

const WARM_UP = 3

/** @throws RangeError for options out of range, TypeError for unknown ones */
export async function profile(model: Model, options: ProfileOptions = {}): Promise<Profile> {
  checkOptionsOf('profile', options, KNOWN)
  const { batch = 1, runs = 20, seed = 0, signal } = options
  checkTimedRuns(batch, runs)
  checkSeed(seed)
  const { graph, scheme } = model.parts
  await prepareWeights(graph, scheme, signal)
  const { plan } = lower(graph, scheme)
  const session = new Session(plan, { path: model.device.isa, threads: options.threads ?? model.device.threads })
  try {
    const { path, threads } = session
    const times = await timesOf(session, randomValues((batch * plan.inputBytes) / 4, seed), batch, runs, options)
    const peaks = await measurePeaks(path, [touchedBytes(plan), touchedBytes(plan) + batch * plan.inputBytes])
    const ops = plan.ops.map((op, i) => profiled(op, times[i], plan, batch, peaks, threads))
    const msPerImage = ops.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / batch
    return { path, threads, batch, runs, msPerImage, peaks, ops, advice: adviceFor(plan, ops, path) }
  } finally {
    session.dispose()
  }
}

/** @returns the median milliseconds of each op */
async function timesOf(session: Session, input: Float32Array, batch: number, runs: number, options: ProfileOptions): Promise<number[]> {
  const { signal, onProgress } = options
  const found: number[][] = []
  for (let i = -WARM_UP; i < runs; i++) {
    const { times } = await session.profile(input, batch, { signal })
    if (i >= 0) times.forEach(({ nanoseconds }, op) => (found[op] ??= []).push(nanoseconds / 1e6))
    onProgress?.({ stage: 'profile', done: i + 1 + WARM_UP, total: runs + WARM_UP })
  }
  return found.map(median)
}

/** What one pass touches, so that each byte of a weight is met again after as many. */
function touchedBytes({ arenaBytes, blobs }: Plan): number {
  return arenaBytes + blobs.reduce((sum, { byteLength }) => sum + byteLength, 0)
}

/** Passes of a run over so many images, see native/plan/executor.cpp. */
function passesOf(images: number, batch: number, threads: number): number {
  const size = Math.min(batch, Math.floor(images / threads))
  if (size === 0) return Math.ceil(images / batch)
  const apart = Math.floor(images / size / threads) * threads
  return apart + passesOf(images - apart * size, batch, threads)
}

function profiled(op: PlanOp, milliseconds: number, plan: Plan, batch: number, peaks: Peaks, threads: number): ProfiledOp {
  const passes = passesOf(batch, plan.batch, threads)
  const full = workOf(op, plan)
  const images = batch / plan.batch
  const work = {
    int8: full.int8 * images,
    floats: full.floats * images,
    activationBytes: full.activationBytes * images,
    inputBytes: full.inputBytes * images,
    weightBytes: full.weightBytes * passes,
  }
  const computing = work.int8 / peaks.int8 + work.floats / peaks.floats
  // Activations were written just before; weights were last read a pass ago, images a run ago.
  const moving =
    work.activationBytes / readSpeed(peaks, full.activationBytes / threads) +
    work.weightBytes / readSpeed(peaks, touchedBytes(plan)) +
    work.inputBytes / readSpeed(peaks, touchedBytes(plan) + batch * plan.inputBytes)
  const least = (1000 * Math.max(computing, moving)) / threads
  return {
    op: op.op,
    name: op.name,
    weightBits: op.op === 'linearCodes' ? op.weightBits : op.op === 'linearF32' ? 32 : null,
    milliseconds,
    ...work,
    roofline: milliseconds > 0 ? least / milliseconds : 0,
    bound: computing >= moving ? 'operations' : 'bytes',
  }
}
