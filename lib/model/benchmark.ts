import { checkSeed, randomValues } from '../random.js'
import { checkOptionsOf, type Known } from '../values.js'
import { checkTimedRuns, RUN_OPTIONS } from './known-options.js'
import type { Model, RunOptions } from './model.js'
import { median } from './statistics.js'

export interface BenchmarkOptions extends RunOptions {
  /** Images a run, 1 to 4096; default 1. */
  batch?: number
  /** Timed runs after the warm-up, from 1 on; default 20, and of a small model as many as half a second holds, at most 1000. */
  runs?: number
  /** Fixes the input, 0 .. 2^32 - 1; default 0. */
  seed?: number
}

export interface BenchmarkResult {
  /** Median over the runs, milliseconds for one image. */
  msPerImage: number
  min: number
  max: number
  runs: number
  batch: number
}

const KNOWN: Known<BenchmarkOptions> = { ...RUN_OPTIONS, batch: true, runs: true, seed: true }

const WARM_UP = 3
const LEAST_RUNS = 20
const MOST_RUNS = 1000
/** Runs of less than a millisecond begin on a processor that still sleeps, with code that is not compiled yet. */
const LEAST_MS = 500

/** @throws RangeError for options out of range, TypeError for unknown ones */
export async function benchmark(model: Model, options: BenchmarkOptions): Promise<BenchmarkResult> {
  checkOptionsOf('benchmark', options, KNOWN)
  const { batch = 1, runs: asked, seed = 0, threads, signal, onProgress } = options
  checkTimedRuns(batch, asked === undefined ? LEAST_RUNS : asked)
  checkSeed(seed)
  const { channels, height, width } = model.input
  const pixels = randomValues(batch * channels * height * width, seed)
  const time = async (): Promise<number> => {
    const start = performance.now()
    await model.run(pixels, batch, { threads, signal })
    return performance.now() - start
  }
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < WARM_UP; i++) least = Math.min(least, await time())
  const runs = asked ?? Math.max(LEAST_RUNS, Math.min(MOST_RUNS, Math.ceil(LEAST_MS / least)))
  const times: number[] = []
  for (let i = 0; i < runs; i++) {
    times.push((await time()) / batch)
    onProgress?.({ stage: 'benchmark', done: i + 1, total: runs })
  }
  return { msPerImage: median(times), min: Math.min(...times), max: Math.max(...times), runs, batch }
}
