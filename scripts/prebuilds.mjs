// Copies the built addon, and the CUDA kernels where they were built, to prebuilds/ before packing; --remove deletes it afterwards, so that no stale copy shadows a later build.
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const prebuilds = join(root, 'prebuilds')
rmSync(join(prebuilds, `${process.platform}-${process.arch}`), { recursive: true, force: true })
if (process.argv[2] === '--remove') {
  rmSync(prebuilds, { recursive: true, force: true })
} else {
  const folder = join(prebuilds, `${process.platform}-${process.arch}`)
  mkdirSync(folder, { recursive: true })
  const built = join(root, 'build', 'Release')
  copyFileSync(join(built, 'fewbit.node'), join(folder, 'fewbit.node'))
  if (existsSync(join(built, 'fewbit.fatbin'))) copyFileSync(join(built, 'fewbit.fatbin'), join(folder, 'fewbit.fatbin'))
}
