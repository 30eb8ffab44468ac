import { Command } from 'commander'
import { doctor } from '../index.js'
import { pairs, table } from '../report/terminal.js'
import { options } from './options.js'
import { print, printJson, type Terminal } from './terminal.js'

/** `fewbit doctor` */
export function doctorCommand(terminal: Terminal): Command {
  return new Command('doctor')
    .description('Tell what this installation can run on, and why not on the rest.')
    .addOption(options.json())
    .action((given: { json?: boolean }) => action(terminal, given.json ?? false))
}

function action(terminal: Terminal, json: boolean): void {
  const report = doctor()
  if (json) printJson(terminal, report)
  else print(terminal, describe(report))
}

function describe(report: ReturnType<typeof doctor>): string {
  const { addon, threads, devices, advice } = report
  const installation = pairs([
    ['node', `${report.node} on ${report.platform}`],
    ['addon', `${addon.version}, ${addon.build}`],
    ['from', addon.file],
    ['threads', `${threads.threads} (${threads.reason})`],
    ['sharp', report.sharp ?? 'not installed'],
  ])
  const paths = table(
    [{ title: 'device' }, { title: 'path' }, { title: 'built' }, { title: 'runs' }, { title: 'why' }],
    devices.map(({ device, path, built, runs, chosen, reason }) => [
      device,
      path ?? '',
      built ? 'yes' : 'no',
      chosen ? 'yes, chosen' : runs ? 'yes' : 'no',
      reason,
    ]),
  )
  return [installation, paths, ...advice].join('\n\n')
}
