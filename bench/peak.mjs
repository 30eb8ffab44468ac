// The float peak of one core of this machine, from bench/native/fma_peak.cpp, compiled when it is asked for.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))

/** Returns { isa, gflops } of one core, or null where it cannot be measured (no compiler, or not an x86 with FMA). */
export function measurePeak() {
  const program = join(here, '..', 'build', 'bench', 'fma_peak')
  mkdirSync(dirname(program), { recursive: true })
  const source = join(here, 'native', 'fma_peak.cpp')
  const compiled = spawnSync(process.env.CXX ?? 'c++', ['-O2', '-std=c++17', '-o', program, source], { encoding: 'utf8' })
  if (compiled.status !== 0) return null
  const run = spawnSync(program, { encoding: 'utf8' })
  return run.status === 0 ? JSON.parse(run.stdout) : null
}
