import { choosePath } from '../runtime/devices.js'
import { chooseThreads } from '../runtime/threads.js'
import type { DeviceOptions } from './model.js'

let warned = false

/**
 * @throws Error when device is 'cuda', which this version has no kernels for ('auto' warns once instead), when `isa` (or FEWBIT_ISA) does not
 *   run here, or for a wrong number of threads
 */
export function checkDevice({ device = 'cpu', threads, isa }: DeviceOptions): void {
  chooseThreads(threads)
  choosePath(isa)
  const reason = 'this version of fewbit was built without CUDA kernels'
  if (device === 'cuda') throw new Error(`device 'cuda' cannot be used: ${reason}. Use 'cpu' or 'auto'.`)
  if (device === 'auto' && !warned) {
    warned = true
    process.emitWarning(`running on the CPU: ${reason}`, { code: 'FEWBIT_NO_CUDA' })
  }
  if (!['cpu', 'cuda', 'auto'].includes(device)) throw new Error(`device must be 'cpu', 'cuda' or 'auto', not '${device}'`)
}
