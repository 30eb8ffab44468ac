// biome for TypeScript and JavaScript, clang-format 14 for C++. --fix rewrites the files.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const fix = process.argv.includes('--fix')
let failed = false

function run(command, args, stdio = 'inherit') {
  const result = spawnSync(command, args, { cwd: root, stdio })
  if (result.status !== 0 && stdio === 'inherit') failed = true
  return result
}

const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome')
run(process.execPath, [biome, 'check', '--error-on-warnings', ...(fix ? ['--write'] : [])])

const sources = ['native', 'cuda', 'test/native', 'test/cuda', 'bench/native', 'bench/cuda']
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) => readdirSync(join(root, folder), { recursive: true }).map((file) => join(folder, file)))
  .filter((file) => /\.(h|cpp|cu|cuh)$/.test(file))
const clangFormat = [process.env.CLANG_FORMAT, 'clang-format-14', 'clang-format']
  .filter(Boolean)
  .find((name) => / version 14\./.test(run(name, ['--version'], 'pipe').stdout ?? ''))
if (!clangFormat) {
  console.error('fewbit: clang-format 14 not found; install it (Debian: clang-format-14) or name it in CLANG_FORMAT')
  failed = true
} else if (sources.length > 0) {
  run(clangFormat, [...(fix ? ['-i'] : ['--dry-run', '-Werror']), ...sources])
}
process.exit(failed ? 1 : 0)
