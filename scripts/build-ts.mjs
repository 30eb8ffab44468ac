// Compiles lib/ to dist/esm and dist/cjs.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const require = createRequire(import.meta.url)
const compiler = require.resolve('typescript/package.json')
const tsc = join(dirname(compiler), require(compiler).bin.tsc)

rmSync(join(root, 'dist'), { recursive: true, force: true })
for (const project of ['tsconfig.esm.json', 'tsconfig.cjs.json']) {
  const { status } = spawnSync(process.execPath, [tsc, '-p', join(root, project)], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

// dist/cjs is a package scope of its own, where the imports of package.json do not hold.
const cjs = join(root, 'dist', 'cjs')
writeFileSync(join(cjs, 'package.json'), '{ "type": "commonjs" }\n')
for (const name of readdirSync(cjs, { recursive: true })) {
  if (!name.endsWith('.js')) continue
  const file = join(cjs, name)
  const text = readFileSync(file, 'utf8')
  const loader = relative(dirname(file), join(root, 'lib', 'addon.cjs')).replaceAll('\\', '/')
  if (text.includes('require("#addon")')) writeFileSync(file, text.replaceAll('require("#addon")', `require("${loader}")`))
}

const main = join(root, 'dist', 'esm', 'cli', 'main.js')
if (existsSync(main)) chmodSync(main, 0o755)
