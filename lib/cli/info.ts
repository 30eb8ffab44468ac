import { Command } from 'commander'
import { load } from '../index.js'
import { formatBytes, formatCode, formatCount, formatPreset, pairs, table } from '../report/terminal.js'
import { options } from './options.js'
import { print, printJson, type Terminal } from './terminal.js'

/** `fewbit info MODEL` */
export function infoCommand(terminal: Terminal): Command {
  return new Command('info')
    .description('Describe a model: its shape, its size and the bits of every operand.')
    .argument('<model>', 'checkpoint folder or .fewbit file')
    .addOption(options.json())
    .action((file: string, given: { json?: boolean }) => action(terminal, file, given.json ?? false))
}

async function action(terminal: Terminal, file: string, json: boolean): Promise<void> {
  const model = await load(file, { signal: terminal.signal })
  try {
    const info = model.info()
    if (json) return printJson(terminal, info)
    const { channels, height, width } = info.input
    print(
      terminal,
      pairs([
        ['architecture', info.architecture],
        ['input', `${channels} x ${height} x ${width}`],
        ['labels', formatCount(info.labels)],
        ['parameters', formatCount(info.parameters)],
        ['size', formatBytes(info.bytes)],
        [
          'quantized',
          info.quantized ? `${info.coverage} coverage${info.preset ? `, preset ${formatPreset(info.preset, info.without)}` : ''}` : 'no',
        ],
        ['bits', `weights ${info.weightBits.toFixed(2)}, activations ${info.activationBits.toFixed(2)} on average`],
      ]),
    )
    print(terminal, '')
    print(
      terminal,
      table(
        [
          { title: 'layer' },
          { title: 'operand' },
          { title: 'name' },
          { title: 'bits', align: 'right' },
          { title: 'code' },
          { title: 'elements', align: 'right' },
        ],
        info.operands.map((operand, i) => [
          operand.layer === info.operands[i - 1]?.layer ? '' : operand.layer,
          operand.operand,
          operand.name,
          String(operand.bits),
          formatCode({ ...operand, fineFirst: operand.fineElements > 0 }),
          formatCount(operand.elements),
        ]),
      ),
    )
  } finally {
    model.dispose()
  }
}
