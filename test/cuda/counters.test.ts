import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import addon from '#addon'

/** Counters of the kernels on a simulator of the CUDA driver: limits of bench/cuda.mjs. */

const { reason, devices } = addon.cuda()
const simulated = devices[0]?.runs && devices[0].name.startsWith('ptxsim')
if (!simulated) console.log(`skipped: ${devices[0] ? `${devices[0].name} is no simulator` : reason}`)

const root = join(__dirname, '..', '..')
;(simulated ? test : test.skip)(
  'kernels of a block of DeiT-Small keep to the limits of instructions, traffic, sectors and banks',
  () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['bench/cuda.mjs', '--check', '--only=DeiT-Small'], {
      cwd: root,
      encoding: 'utf8',
    })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toContain('DeiT-Small, weights of 8 bits')
  },
  600_000,
)
