import { Command } from 'commander'
import { type DeviceName, load } from '../index.js'
import { formatCount, formatInterval, formatMs, formatPercent, pairs } from '../report/terminal.js'
import { options } from './options.js'
import { print, printJson, printWarnings, type Terminal, withProgress } from './terminal.js'

interface Options {
  data: string
  device: DeviceName
  threads?: number
  json?: boolean
}

/** `fewbit eval MODEL --data DATA` */
export function evalCommand(terminal: Terminal): Command {
  return new Command('eval')
    .description('Measure the accuracy of a model on labelled images.')
    .argument('<model>', 'checkpoint folder or .fewbit file')
    .requiredOption('--data <data>', 'labelled images: folder of classes, folder with labels.csv, CIFAR-10 .bin')
    .addOption(options.device())
    .addOption(options.threads())
    .addOption(options.json())
    .action((file: string, given: Options) => action(terminal, file, given))
}

async function action(terminal: Terminal, file: string, given: Options): Promise<void> {
  const { data, device, threads, json = false } = given
  const { signal } = terminal
  const warnings: string[] = []
  const model = await load(file, { device, threads, signal, onWarning: (message) => warnings.push(message) })
  try {
    const { predictions: _, ...result } = await withProgress(terminal, 'evaluating', json, (onProgress) =>
      model.evaluate(data, { signal, threads, onProgress }),
    )
    if (json) return printJson(terminal, { ...result, warnings })
    printWarnings(terminal, warnings)
    print(
      terminal,
      pairs([
        ['top-1', `${formatPercent(result.top1)} (95 % interval ${formatInterval(result.interval)})`],
        ['top-5', formatPercent(result.top5)],
        ['images', formatCount(result.images)],
        ['time', `${formatMs(result.msPerImage)} an image`],
      ]),
    )
  } finally {
    model.dispose()
  }
}
