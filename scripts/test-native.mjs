// Builds and runs the native tests in a build folder of their own. Under the thread sanitizer these are the tests in which threads
// meet (fewbit_thread_tests of CMakeLists.txt); all others call kernels on one thread.
// Usage: node scripts/test-native.mjs [--sanitize=address,undefined] [--compiler=clang++-14] [-- arguments of the tests]
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values, positionals } = parseArgs({
  options: { sanitize: { type: 'string', default: '' }, compiler: { type: 'string', default: '' } },
  allowPositionals: true,
})
const name = ['native', values.compiler, values.sanitize.replaceAll(',', '-')].filter(Boolean).join('-')
const folder = join(root, 'build', name)
const tests = values.sanitize.includes('thread') ? 'fewbit_thread_tests' : 'fewbit_native_tests'

function run(command, args) {
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (status === 0) return
  console.error(`fewbit: ${command} ${error ?? (signal ? `ended by ${signal}` : `exited with ${status}`)}`)
  process.exit(1)
}

run('cmake', [
  ...['-S', root, '-B', folder, '-G', 'Ninja', `-DFEWBIT_SANITIZE=${values.sanitize}`],
  `-DCMAKE_BUILD_TYPE=${values.sanitize ? 'RelWithDebInfo' : 'Release'}`,
  ...(values.compiler ? [`-DCMAKE_CXX_COMPILER=${values.compiler}`] : []),
])
run('cmake', ['--build', folder, '--target', tests])
run(join(folder, tests), positionals)
