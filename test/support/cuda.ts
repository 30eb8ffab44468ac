import addon from '#addon'

/** What the CUDA tests can run on here. Not for other tests: it opens the driver. */

const { reason, devices } = addon.cuda()
const device = devices[0]

/** A device that runs the kernels, a simulator of one included. */
export const hasDevice = device?.runs ?? false
/** A simulator of the driver, which counts what kernels do and fails when it is told to. */
const hasSimulator = hasDevice && device.name.startsWith('ptxsim')

const unless = (there: boolean, missing: string): typeof describe => {
  if (there) return describe
  console.log(`skipped, ${missing}: ${device?.reason ?? reason ?? device?.name}`)
  return describe.skip as typeof describe
}

/** `describe` where there is a device, else one that is skipped, saying why. */
export const describeOnDevice = (): typeof describe => unless(hasDevice, 'no CUDA device runs the kernels')
/** The same for a simulator. */
export const describeOnSimulator = (): typeof describe => unless(hasSimulator, 'there is no simulator of the CUDA driver')
