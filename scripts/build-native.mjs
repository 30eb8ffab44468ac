// Builds build/<configuration>/fewbit.node with cmake-js. Usage: node scripts/build-native.mjs [Release|Debug]
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const configuration = process.argv[2] ?? 'Release'
const folder = join(root, 'build', 'cmake', configuration)

let cmakeJs
try {
  const require = createRequire(join(root, 'package.json'))
  cmakeJs = join(dirname(require.resolve('cmake-js/package.json')), 'bin', 'cmake-js')
  require.resolve('node-addon-api/package.json')
} catch {
  console.error('fewbit: building the addon needs cmake-js and node-addon-api: npm install --no-save cmake-js@8 node-addon-api@8')
  process.exit(1)
}

// A copied build folder would go on building the tree it was copied from.
const cache = join(folder, 'CMakeCache.txt')
if (existsSync(cache)) {
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1]
  if (!home || !existsSync(home) || realpathSync(home) !== realpathSync(root)) rmSync(folder, { recursive: true })
}

const args = ['compile', '-d', root, '-O', folder, '-B', configuration, '-p', String(availableParallelism())]
const { status, error } = spawnSync(process.execPath, [cmakeJs, ...args], { cwd: root, stdio: 'inherit' })
if (error) console.error(String(error))
process.exit(status ?? 1)
