import type { Known } from '../values.js'
import type { DeviceOptions, RunOptions } from './model.js'

/** Options that more than one call has. */

export const RUN_OPTIONS: Known<RunOptions> = { threads: true, signal: true, onProgress: true }

export const DEVICE_OPTIONS: Known<DeviceOptions> = { device: true, threads: true, isa: true, onWarning: true }
