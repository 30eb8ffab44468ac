import { Command } from 'commander'
import { type DeviceName, load } from '../index.js'
import { formatPercent, table } from '../report/terminal.js'
import { options } from './options.js'
import { print, printJson, printWarnings, type Terminal, withProgress } from './terminal.js'

interface Options {
  device: DeviceName
  threads?: number
  json?: boolean
}

/** `fewbit classify MODEL IMAGE...` */
export function classifyCommand(terminal: Terminal): Command {
  return new Command('classify')
    .description('Print the five likeliest classes of each image.')
    .argument('<model>', 'checkpoint folder or .fewbit file')
    .argument('<image...>', 'image files')
    .addOption(options.device())
    .addOption(options.threads())
    .addOption(options.json())
    .action((file: string, images: string[], given: Options) => action(terminal, file, images, given))
}

async function action(terminal: Terminal, file: string, images: string[], given: Options): Promise<void> {
  const { device, threads, json = false } = given
  const { signal } = terminal
  const warnings: string[] = []
  const model = await load(file, { device, threads, signal, onWarning: (message) => warnings.push(message) })
  try {
    const answers = await withProgress(terminal, 'classifying', json, (onProgress) =>
      model.classify(images, { top: 5, signal, threads, onProgress }),
    )
    const results = images.map((image, i) => ({ file: image, top5: answers[i] ?? [] }))
    if (json) return printJson(terminal, { results, warnings })
    printWarnings(terminal, warnings)
    print(
      terminal,
      table(
        [{ title: 'image' }, { title: 'probability', align: 'right' }, { title: 'label' }],
        results.flatMap((result) =>
          result.top5.map((answer, rank) => [rank === 0 ? result.file : '', formatPercent(answer.probability), answer.label]),
        ),
      ),
    )
  } finally {
    model.dispose()
  }
}
