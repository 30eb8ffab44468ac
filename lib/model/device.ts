import { chooseDevice, choosePath, type DeviceName } from '../runtime/devices.js'
import { chooseThreads } from '../runtime/threads.js'
import type { DeviceOptions } from './model.js'

/**
 * @throws Error when `device` names CUDA and it cannot be used here ('auto' warns once instead), when `isa` (or FEWBIT_ISA) does not run
 *   here, or for a wrong number of threads
 */
export function checkDevice({ device, threads, isa }: DeviceOptions): void {
  if (threads !== undefined) chooseThreads(threads)
  choosePath(isa)
  chooseDevice(device)
}

/** Rows of tokens that fill all multiprocessors of a large GPU; on a CPU, what lowering takes. */
const CUDA_ROWS = 4096

/** How many rows a model's plan has in flight on a device. */
export function rowsInFlight(device: DeviceName | undefined): number | undefined {
  return chooseDevice(device) === 'cpu' ? undefined : CUDA_ROWS
}
