import { Writable } from 'node:stream'
import { run } from '../../lib/cli/program.js'

export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

/** Runs a command line in this process with streams of its own; `onError` hears what goes to stderr. */
export async function fewbit(
  argv: string[],
  options: { signal?: AbortSignal; isTTY?: boolean; onError?: (text: string) => void } = {},
): Promise<Outcome> {
  const out: string[] = []
  const err: string[] = []
  const collect = (parts: string[], hear?: (text: string) => void) =>
    new Writable({
      write(chunk, _encoding, done) {
        parts.push(String(chunk))
        hear?.(String(chunk))
        done()
      },
    })
  const stderr = Object.assign(collect(err, options.onError), { isTTY: options.isTTY ?? false })
  const signal = options.signal ?? new AbortController().signal
  const code = await run(argv, { stdout: collect(out), stderr, signal, version: '1.2.3' })
  return { code, stdout: out.join(''), stderr: err.join('') }
}

/** The value of stdout that must be exactly one line of JSON. */
export function oneJsonLine<T>(outcome: Outcome): T {
  if (!/^[^\n]+\n$/.test(outcome.stdout)) throw new Error(`not one line: ${JSON.stringify(outcome)}`)
  return JSON.parse(outcome.stdout) as T
}
