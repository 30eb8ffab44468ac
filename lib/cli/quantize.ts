import { basename, resolve } from 'node:path'
import { Command } from 'commander'
import { checkReplaceable, replaceFile } from '../checkpoint/replace-file.js'
import {
  type Allocation,
  type AnyPart,
  type DeviceName,
  type FloorReached,
  type Latency,
  load,
  type Model,
  type Part,
  type Preset,
  type Quantization,
  type QuantizationReport,
  quantize,
  reportHtml,
} from '../index.js'
import { loadCharts } from '../report/charts.js'
import { formatBytes, formatDuration, formatMs, formatPreset, pairs, printable, table } from '../report/terminal.js'
import { type BitOptions, options } from './options.js'
import { print, printJson, type Terminal, withProgress } from './terminal.js'

interface Options extends BitOptions {
  calibrate: string
  output: string
  preset: Preset
  without?: AnyPart[]
  with?: Part[]
  coverage: 'full' | 'partial'
  weightBits?: number
  activationBits?: number
  allocation?: Allocation
  maxDrop?: number
  objective: 'bits' | 'latency'
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
    .addOption(options.without())
    .addOption(options.with())
    .addOption(options.coverage())
    .addOption(options.bits())
    .addOption(options.weightBits())
    .addOption(options.activationBits())
    .addOption(options.averageBits())
    .addOption(options.allocation())
    .addOption(options.maxDrop())
    .addOption(options.objective())
    .option('--validate <data>', 'what --max-drop is measured on (default: images that were not drawn for calibration)')
    .option('--cache <folder>', 'keep what takes long in this folder, to go on after an interruption and to repeat at once')
    .addOption(options.calibrationImages())
    .addOption(options.seed())
    .addOption(options.device('where the result is measured, the search being done by the CPU'))
    .addOption(options.threads())
    .addOption(options.json())
    .action((checkpoint: string, given: Options) => action(terminal, checkpoint, given))
}

async function action(terminal: Terminal, checkpoint: string, given: Options): Promise<void> {
  const { json = false, output, report, ...settings } = given
  // Minutes of work are not for a file that cannot be written.
  await checkReplaceable(output)
  if (report !== undefined) {
    if (resolve(report) === resolve(output)) throw new Error(`--report and --output are both ${output}: give the report a file of its own`)
    await checkReplaceable(report)
    await loadCharts()
  }
  const started = performance.now()
  let measured: Latency | undefined
  const warnings: string[] = []
  const model = await load(checkpoint, { device: given.device, threads: given.threads, signal: terminal.signal })
  try {
    const small = await withProgress(terminal, 'quantizing', json, (onProgress, note) =>
      quantize(model, {
        ...settings,
        ...(report !== undefined && { onReport: (made) => writeReport(report, checkpoint, made) }),
        onEstimate: (seconds) => note(`this will take roughly ${formatDuration(seconds)}`),
        onLatency: (latency) => {
          measured = latency
        },
        onWarning: (message) => {
          warnings.push(message)
          if (!json) note(`warning: ${printable(message)}`)
        },
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
      const latency = measured ? latencyOf(small, measured) : null
      if (json) {
        const times = latency === null ? {} : { latency }
        printJson(terminal, {
          file: output,
          bytes,
          architecture,
          weightBits,
          activationBits,
          coverage,
          ...made,
          warnings,
          seconds,
          ...times,
        })
      } else {
        print(
          terminal,
          pairs([
            ['file', output],
            ['size', formatBytes(bytes)],
            ['bits', `weights ${weightBits.toFixed(2)}, activations ${activationBits.toFixed(2)} on average`],
            ['preset', `${formatPreset(made.preset, made.without)}, ${coverage} coverage`],
            ['divergence', `${made.divergence.toPrecision(3)} nats from the float model's predictions`],
            ...(made.floor === null ? [] : [['drop', describeFloor(made.floor)] as [string, string]]),
            ['time', `${seconds.toFixed(1)} s`],
            ...(report === undefined ? [] : [['report', report] as [string, string]]),
          ]),
        )
        if (latency !== null) print(terminal, `\n${latencyTable(latency)}`)
      }
    } finally {
      small.dispose()
    }
  } finally {
    model.dispose()
  }
}

interface ChosenWidths extends Omit<Latency, 'layers'> {
  /** Milliseconds an image, and what they would be with 8 bits. */
  layers: { layer: string; bits: number; milliseconds: number; millisecondsAt8: number }[]
}

/** The widths that were chosen, with what they were measured to take. */
function latencyOf(model: Model, { layers, ...conditions }: Latency): ChosenWidths {
  const bits = new Map(model.info().operands.map((operand) => [operand.name, operand.bits]))
  const chosenOf = ({ layer, weight, milliseconds }: Latency['layers'][number]) => {
    const chosen = bits.get(weight) as number
    const at = (width: number) => milliseconds.get(width) as number
    return { layer, bits: chosen, milliseconds: at(chosen), millisecondsAt8: at(8) }
  }
  return { ...conditions, layers: layers.map(chosenOf) }
}

function latencyTable({ layers: rows, images, threads }: ChosenWidths): string {
  const sum = (field: 'milliseconds' | 'millisecondsAt8') => formatMs(rows.reduce((all, row) => all + row[field], 0))
  const figures = table(
    [{ title: 'layer' }, ...['bits', 'time', 'with 8 bits'].map((title) => ({ title, align: 'right' as const }))],
    [
      ...rows.map(({ layer, bits, milliseconds, millisecondsAt8 }) => [
        layer,
        String(bits),
        formatMs(milliseconds),
        formatMs(millisecondsAt8),
      ]),
      ['all linear layers', '', sum('milliseconds'), sum('millisecondsAt8')],
    ],
  )
  const conditions = `Times are an image's, in runs of ${images} on ${threads} thread${threads > 1 ? 's' : ''}, each layer by itself: without bias, activation and residual.`
  return `${figures}\n\n${conditions}`
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
