#!/usr/bin/env node
import { readFileSync } from 'node:fs'

// The first Ctrl-C aborts and lets the command clean up; the second finds no handler any more and ends the process.
const abort = new AbortController()
let aborted = 130
process.once('SIGINT', () => abort.abort())
process.once('SIGTERM', () => {
  aborted = 143
  abort.abort()
})

// `fewbit info model | head -1`: the reader left, which is no reason to complain. 141 is what the shell gives other tools then.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(141)
  process.stderr.write(`fewbit: cannot write the output: ${error.message}\n`)
  process.exit(1)
})

// No process.exit() below: what was written to a pipe must be flushed first.
try {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }
  // Imported here because it loads the addon, and that may fail.
  const { ABORTED, run } = await import('./program.js')
  const code = await run(process.argv.slice(2), { stdout: process.stdout, stderr: process.stderr, signal: abort.signal, version })
  process.exitCode = code === ABORTED ? aborted : code
} catch (error) {
  process.stderr.write(`fewbit: ${(error as Error).message}\n`)
  process.exitCode = 1
}
