import type { DeviceOptions } from './model.js'

let warned = false

/**
 * @throws Error when device is 'cuda', which this version has no kernels for; 'auto' warns once instead
 */
export function checkDevice({ device = 'cpu', threads }: DeviceOptions): void {
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 256)) {
    throw new RangeError(`threads must be an integer from 1 to 256, not ${threads}`)
  }
  const reason = 'this version of fewbit was built without CUDA kernels'
  if (device === 'cuda') throw new Error(`device 'cuda' cannot be used: ${reason}. Use 'cpu' or 'auto'.`)
  if (device === 'auto' && !warned) {
    warned = true
    process.emitWarning(`running on the CPU: ${reason}`, { code: 'FEWBIT_NO_CUDA' })
  }
  if (!['cpu', 'cuda', 'auto'].includes(device)) throw new Error(`device must be 'cpu', 'cuda' or 'auto', not '${device}'`)
}
