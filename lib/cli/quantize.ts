import { basename, resolve } from 'node:path'
import { Command } from 'commander'
import { checkReplaceable, replaceFile } from '../checkpoint/replace-file.js'
import {
  type DeviceName,
  type FloorReached,
  load,
  type Preset,
  type Quantization,
  type QuantizationReport,
  quantize,
  reportHtml,
} from '../index.js'
import { loadCharts } from '../report/charts.js'
import { formatBytes, formatDuration, pairs, printable } from '../report/terminal.js'
import { type BitOptions, options } from './options.js'
import { print, printJson, type Terminal, withProgress } from './terminal.js'

interface Options extends BitOptions {
  calibrate: string
  output: string
  preset: Preset
  coverage: 'full' | 'partial'
  weightBits?: number
  activationBits?: number
  maxDrop?: number
  validate?: string
  cache?: string
  report?: string
  calibrationImages?: number
  seed: number
  device: DeviceName
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
    .addOption(options.preset())
    .addOption(options.coverage())
    .addOption(options.bits())
    .addOption(options.weightBits())
    .addOption(options.activationBits())
    .addOption(options.averageBits())
    .addOption(options.maxDrop())
    .option('--validate <data>', 'what --max-drop is measured on (default: images that were not drawn for calibration)')
    .option('--cache <folder>', 'keep what takes long in this folder, to go on after an interruption and to repeat at once')
    .addOption(options.calibrationImages())
    .addOption(options.seed())
    .addOption(options.device())
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
  const model = await load(checkpoint, { device: given.device, threads: given.threads, signal: terminal.signal })
  try {
    const small = await withProgress(terminal, 'quantizing', json, (onProgress, note) =>
      quantize(model, {
        ...settings,
        ...(report !== undefined && { onReport: (made) => writeReport(report, checkpoint, made) }),
        onEstimate: (seconds) => note(`this will take roughly ${formatDuration(seconds)}`),
        onWarning: (message) => note(`warning: ${printable(message)}`),
        signal: terminal.signal,
        onProgress,
      }),
    )
    try {
      const seconds = (performance.now() - started) / 1000
      terminal.signal.throwIfAborted()
      const { bytes } = await small.save(output)
      const { weightBits, activationBits, architecture, coverage } = small.info()
      const made = small.quantization as Quantization
      if (json) printJson(terminal, { file: output, bytes, architecture, weightBits, activationBits, coverage, ...made, seconds })
      else
        print(
          terminal,
          pairs([
            ['file', output],
            ['size', formatBytes(bytes)],
            ['bits', `weights ${weightBits.toFixed(2)}, activations ${activationBits.toFixed(2)} on average`],
            ['preset', `${made.preset}, ${coverage} coverage`],
            ['divergence', `${made.divergence.toPrecision(3)} nats from the float model's predictions`],
            ...(made.floor === null ? [] : [['drop', describeFloor(made.floor)] as [string, string]]),
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

function describeFloor({ drop, interval, images, labelled, maxDrop }: FloorReached): string {
  const [low, high] = interval.map((points) => points.toFixed(2))
  const what = labelled ? 'points' : '% of the answers changed'
  return `${drop.toFixed(2)} ${what} on ${images} images (95 % interval ${low} .. ${high}), at most ${maxDrop} allowed`
}

async function writeReport(file: string, checkpoint: string, report: QuantizationReport): Promise<void> {
  const html = await reportHtml(report, { title: basename(resolve(checkpoint)) })
  await replaceFile(file, (handle) => handle.writeFile(html))
}
