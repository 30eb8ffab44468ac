import { checkSeed, randomValues } from '../random.js'
import { checkKnown, type Known } from '../values.js'
import { RUN_OPTIONS } from './known-options.js'
import type { Model, RunOptions } from './model.js'
import { median } from './statistics.js'

export interface BenchmarkOptions extends RunOptions {
  /** Images a run, from 1 on; default 1. */
  batch?: number
  /** Timed runs after the warm-up, from 1 on; default 20. */
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

/** @throws RangeError for options out of range, TypeError for unknown ones */
export async function benchmark(model: Model, options: BenchmarkOptions): Promise<BenchmarkResult> {
  checkKnown('benchmark', options, KNOWN)
  const { batch = 1, runs = 20, seed = 0, threads, signal, onProgress } = options
  for (const [name, value] of Object.entries({ batch, runs })) {
    if (!Number.isInteger(value) || value < 1) throw new RangeError(`${name} must be a positive integer, not ${value}`)
  }
  checkSeed(seed)
  const { channels, height, width } = model.input
  const pixels = randomValues(batch * channels * height * width, seed)
  const times: number[] = []
  for (let i = -WARM_UP; i < runs; i++) {
    const start = performance.now()
    await model.run(pixels, batch, { threads, signal })
    if (i >= 0) times.push((performance.now() - start) / batch)
    onProgress?.({ stage: 'benchmark', done: i + 1 + WARM_UP, total: runs + WARM_UP })
  }
  return { msPerImage: median(times), min: Math.min(...times), max: Math.max(...times), runs, batch }
}
