import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describeOnSimulator } from '../support/cuda.js'

/** Counters of the kernels on a simulator of the CUDA driver: limits of bench/cuda.mjs. */

const root = join(__dirname, '..', '..')

describeOnSimulator()('kernels of transformers', () => {
  test('keep to the limits of instructions, traffic, sectors and banks', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['bench/cuda.mjs', '--check'], {
      cwd: root,
      encoding: 'utf8',
    })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    for (const model of ['DeiT-Small', 'ViT-Base']) expect(stdout).toContain(`${model}, weights of 8 bits`)
  }, 600_000)
})
