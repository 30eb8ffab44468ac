import type { Known } from '../values.js'
import type { DeviceOptions, RunOptions } from './model.js'

/** Options that more than one call has. */

export const RUN_OPTIONS: Known<RunOptions> = { threads: true, signal: true, onProgress: true }

/** Images a run that is made to be timed. */
export const MOST_BATCH = 4096

/** @throws RangeError */
export function checkTimedRuns(batch: number, runs: number): void {
  if (!(Number.isInteger(batch) && batch >= 1 && batch <= MOST_BATCH)) {
    throw new RangeError(`batch must be an integer from 1 to ${MOST_BATCH}, not ${batch}`)
  }
  if (!(Number.isInteger(runs) && runs >= 1)) throw new RangeError(`runs must be a positive integer, not ${runs}`)
}

export const DEVICE_OPTIONS: Known<DeviceOptions> = { device: true, threads: true, isa: true, onWarning: true }
