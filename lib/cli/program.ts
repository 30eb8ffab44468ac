import { Command, CommanderError } from 'commander'
import { printable } from '../report/terminal.js'
import { benchCommand } from './bench.js'
import { classifyCommand } from './classify.js'
import { doctorCommand } from './doctor.js'
import { evalCommand } from './eval.js'
import { exportCommand } from './export.js'
import { infoCommand } from './info.js'
import { profileCommand } from './profile.js'
import { quantizeCommand } from './quantize.js'
import type { Terminal } from './terminal.js'

const COMMANDS = [quantizeCommand, evalCommand, classifyCommand, infoCommand, benchCommand, profileCommand, exportCommand, doctorCommand]

function build(terminal: Terminal): Command {
  const program = new Command('fewbit')
    .description('Turns vision-transformer checkpoints into low-bit models and runs them.')
    .version(terminal.version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'fewbit: ')),
    })
  for (const command of COMMANDS) program.addCommand(command(terminal).copyInheritedSettings(program))
  return program
}

/** The exit code of a run that the signal ended. */
export const ABORTED = 130

/** Runs one command line (without node and script) and returns its exit code: 0 success, 1 failure, 2 usage error or {@link ABORTED}. */
export async function run(argv: string[], terminal: Terminal): Promise<number> {
  try {
    await build(terminal).parseAsync(argv, { from: 'user' })
    return 0
  } catch (error) {
    // The parser has already written its own message, or the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    if (terminal.signal.aborted) {
      terminal.stderr.write('fewbit: aborted\n')
      return ABORTED
    }
    terminal.stderr.write(`fewbit: ${describe(error)}\n`)
    return 1
  }
}

/** Messages quote files, whose names and contents are strangers' text. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return printable(String(error))
  const text = process.env.FEWBIT_DEBUG === '1' ? (error.stack ?? error.message) : error.message
  return text.split('\n').map(printable).join('\n')
}
