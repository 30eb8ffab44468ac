// Builds and runs the tests of the CUDA kernels and of their host side. They run on whatever device the driver library finds;
// without one those that need it are skipped, with the reason. Simulators of the driver are asked to check all they can.
// Usage: node scripts/test-cuda.mjs [-- arguments of the tests]
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { positionals } = parseArgs({ options: {}, allowPositionals: true })
const folder = join(root, 'build', 'cuda')
const checks = { PTXSIM_INITCHECK: '1', PTXSIM_RACECHECK: '1', PTXSIM_SHUFFLE: '1' }

function run(command, args, env = {}) {
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
  if (status === 0) return
  console.error(`fewbit: ${command} ${error ?? (signal ? `ended by ${signal}` : `exited with ${status}`)}`)
  process.exit(1)
}

// PTX alone: the driver compiles it for the device that is there.
run('cmake', ['-S', root, '-B', folder, '-G', 'Ninja', '-DFEWBIT_CUDA_ARCHITECTURES=', '-DCMAKE_BUILD_TYPE=Release'])
run('cmake', ['--build', folder, '--target', 'fewbit_cuda_tests', 'fewbit_cuda_fault_tests'])
run(join(folder, 'fewbit_cuda_tests'), positionals, checks)
run(join(folder, 'fewbit_cuda_fault_tests'), [], {})
