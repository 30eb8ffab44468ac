import { chooseDevice, choosePath } from '../runtime/devices.js'
import { chooseThreads } from '../runtime/threads.js'
import type { DeviceOptions } from './model.js'

/**
 * @throws Error when `device` names CUDA and it cannot be used here ('auto' warns once instead), when `isa` (or FEWBIT_ISA) does not run here, or for a
 *   wrong number of threads
 */
export function checkDevice({ device, threads, isa }: DeviceOptions): void {
  chooseThreads(threads)
  choosePath(isa)
  chooseDevice(device)
}
