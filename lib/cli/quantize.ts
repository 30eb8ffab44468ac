import { basename, resolve } from 'node:path'
import { Command } from 'commander'
import { checkReplaceable, replaceFile } from '../checkpoint/replace-file.js'
import { load, type QuantizationReport, quantize, reportHtml } from '../index.js'
import { loadCharts } from '../report/charts.js'
import { formatBytes, pairs } from '../report/terminal.js'
import { type BitOptions, options } from './options.js'
import { print, printJson, type Terminal, withProgress } from './terminal.js'

interface Options extends BitOptions {
  calibrate: string
  output: string
  report?: string
  calibrationImages?: number
  seed: number
  threads?: number
  json?: boolean
}

/** `fewbit quantize CHECKPOINT --calibrate DATA -o FILE` */
export function quantizeCommand(terminal: Terminal): Command {
  return new Command('quantize')
    .description('Quantize a checkpoint and save it as a .fewbit file.')
    .argument('<checkpoint>', 'folder with config.json and model.safetensors')
    .requiredOption('--calibrate <data>', 'images to calibrate on: folder of classes, folder with labels.csv, CIFAR-10 .bin')
    .requiredOption('-o, --output <file>', 'the file to write')
    .option('--report <file>', 'write an HTML report of all layers, too (needs the package echarts)')
    .addOption(options.bits())
    .addOption(options.averageBits())
    .addOption(options.calibrationImages())
    .addOption(options.seed())
    .addOption(options.threads())
    .addOption(options.json())
    .action((checkpoint: string, given: Options) => action(terminal, checkpoint, given))
}

async function action(terminal: Terminal, checkpoint: string, given: Options): Promise<void> {
  const { json = false, output, report, ...settings } = given
  // Minutes of work are not for a file that cannot be written.
  await checkReplaceable(output)
  if (report !== undefined) {
    await checkReplaceable(report)
    await loadCharts()
  }
  const started = performance.now()
  const model = await load(checkpoint, { threads: given.threads, signal: terminal.signal })
  try {
    const small = await withProgress(terminal, 'quantizing', json, (onProgress) =>
      quantize(model, {
        ...settings,
        ...(report !== undefined && { onReport: (made) => writeReport(report, checkpoint, made) }),
        signal: terminal.signal,
        onProgress,
      }),
    )
    try {
      const seconds = (performance.now() - started) / 1000
      terminal.signal.throwIfAborted()
      const { bytes } = await small.save(output)
      const { weightBits, activationBits, architecture } = small.info()
      if (json) printJson(terminal, { file: output, bytes, architecture, weightBits, activationBits, seconds })
      else
        print(
          terminal,
          pairs([
            ['file', output],
            ['size', formatBytes(bytes)],
            ['bits', `weights ${weightBits.toFixed(2)}, activations ${activationBits.toFixed(2)} on average`],
            ['time', `${seconds.toFixed(1)} s`],
            ...(report === undefined ? [] : [['report', report] as [string, string]]),
          ]),
        )
    } finally {
      small.dispose()
    }
  } finally {
    model.dispose()
  }
}

async function writeReport(file: string, checkpoint: string, report: QuantizationReport): Promise<void> {
  const html = await reportHtml(report, { title: basename(resolve(checkpoint)) })
  await replaceFile(file, (handle) => handle.writeFile(html))
}
