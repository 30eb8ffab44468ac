import cliProgress from 'cli-progress'
import { printable } from '../report/terminal.js'

/** What a command may touch of the outside. Tests pass their own. */
export interface Terminal {
  stdout: { write(text: string): unknown }
  stderr: NodeJS.WritableStream & { isTTY?: boolean }
  /** Aborted by Ctrl-C. */
  signal: AbortSignal
  /** What `--version` prints. */
  version: string
}

/** One line of JSON on stdout. JSON.stringify never writes a line break of its own; NaN and infinities become null. */
export function printJson(terminal: Terminal, value: unknown): void {
  terminal.stdout.write(`${JSON.stringify(value)}\n`)
}

export function print(terminal: Terminal, text: string): void {
  terminal.stdout.write(`${text}\n`)
}

/** What long calls report; evaluate, classify and benchmark know one stage only and need not name it. */
export interface ProgressEvent {
  stage?: string
  done: number
  total: number
}

export interface Progress {
  update(event: ProgressEvent): void
  /** A line of its own; the bar goes on below. */
  note(text: string): void
  /** Takes the bar away and shows the cursor again. Must be called however the work ended. */
  stop(): void
}

/**
 * Progress on stderr: a bar a stage on a terminal, one line a stage elsewhere, nothing but notes when the caller wants JSON.
 * `name` is the stage of events that name none.
 */
export function showProgress(terminal: Terminal, name: string, quiet: boolean): Progress {
  const line = (text: string) => void terminal.stderr.write(`${text}\n`)
  if (quiet) return { update: () => undefined, note: line, stop: () => undefined }
  let stage: string | undefined
  if (!terminal.stderr.isTTY) {
    return {
      update(event) {
        const next = event.stage ?? name
        if (next !== stage) line(`${next} ...`)
        stage = next
      },
      note: line,
      stop: () => undefined,
    }
  }
  const bar = new cliProgress.SingleBar(
    {
      stream: terminal.stderr,
      format: '{stage} {bar} {percentage} % {eta_formatted}',
      hideCursor: true,
      clearOnComplete: true,
      barsize: 32,
    },
    cliProgress.Presets.shades_classic,
  )
  const stop = (): void => {
    if (stage !== undefined) bar.stop()
    stage = undefined
  }
  return {
    update(event) {
      const next = event.stage ?? name
      if (next !== stage) {
        if (stage !== undefined) bar.stop()
        bar.start(event.total, event.done, { stage: next })
        stage = next
      } else {
        bar.setTotal(event.total)
        bar.update(event.done)
      }
    },
    note(text) {
      stop()
      line(text)
    },
    stop,
  }
}

/** To stderr, once no progress is shown; with --json they belong into the JSON. */
export function printWarnings(terminal: Terminal, warnings: string[]): void {
  for (const warning of warnings) terminal.stderr.write(`warning: ${printable(warning)}\n`)
}

/** Runs `work` with a progress display that is taken away however it ends. */
export async function withProgress<T>(
  terminal: Terminal,
  name: string,
  quiet: boolean,
  work: (onProgress: (event: ProgressEvent) => void, note: (text: string) => void) => Promise<T>,
): Promise<T> {
  const progress = showProgress(terminal, name, quiet)
  try {
    return await work(
      (event) => progress.update(event),
      (text) => progress.note(text),
    )
  } finally {
    progress.stop()
  }
}
