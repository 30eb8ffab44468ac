import { Command } from 'commander'
import { type DeviceName, type Model, quantize } from '../index.js'
import { formatMs, pairs } from '../report/terminal.js'
import { noiseFor, openModel } from './open.js'
import { type BitOptions, options } from './options.js'
import { type ProgressEvent, print, printJson, printWarnings, type Terminal, withProgress } from './terminal.js'

interface Options extends BitOptions {
  batch: number
  device: DeviceName
  threads?: number
  seed: number
  json?: boolean
}

/** What the kinds of codes depend on, and with them times, is most of the search. */
export const QUANTIZED_FIRST =
  'With --bits or --average-bits it is quantized first, on noise, with codes like those of quantize: about a minute for deit-small.'

/** `fewbit bench MODEL` */
export function benchCommand(terminal: Terminal): Command {
  return new Command('bench')
    .description(`Time runs of a model on random input. ${QUANTIZED_FIRST}`)
    .argument(
      '<model>',
      'checkpoint folder, .fewbit file, or the name of an architecture (deit-small, swin-tiny), which gets random weights',
    )
    .addOption(options.batch())
    .addOption(options.device())
    .addOption(options.threads())
    .addOption(options.bits())
    .addOption(options.averageBits())
    .addOption(options.seed())
    .addOption(options.json())
    .action((name: string, given: Options) => action(terminal, name, given))
}

async function action(terminal: Terminal, name: string, given: Options): Promise<void> {
  const { batch, threads, seed, json = false } = given
  const { signal } = terminal
  const warnings: string[] = []
  const result = await withProgress(terminal, 'benchmark', json, async (onProgress) => {
    const model = await prepareModel(name, given, { signal, onProgress, onWarning: (message) => warnings.push(message) })
    try {
      const result = await model.benchmark({ batch, threads, seed, signal, onProgress })
      const { architecture, weightBits, activationBits } = model.info()
      return { ...result, architecture, weightBits, activationBits }
    } finally {
      model.dispose()
    }
  })
  if (json) return printJson(terminal, { ...result, warnings })
  printWarnings(terminal, warnings)
  print(
    terminal,
    pairs([
      ['model', `${name} (${result.architecture})`],
      ['bits', `weights ${result.weightBits.toFixed(2)}, activations ${result.activationBits.toFixed(2)} on average`],
      ['median', `${formatMs(result.msPerImage)} an image (batch ${result.batch}, ${result.runs} runs)`],
      ['range', `${formatMs(result.min)} .. ${formatMs(result.max)}`],
    ]),
  )
}

/** The model to time. */
export async function prepareModel(
  name: string,
  { bits, averageBits, device, threads, seed }: BitOptions & { device?: DeviceName; threads?: number; seed: number },
  calls: { signal: AbortSignal; onProgress: (event: ProgressEvent) => void; onWarning?: (message: string) => void },
): Promise<Model> {
  const { signal, onWarning } = calls
  const model = await openModel(name, { seed, device, threads, signal, onWarning })
  if (bits === undefined && averageBits === undefined) return model
  try {
    const calibrate = noiseFor(model, seed)
    return await quantize(model, { calibrate, bits, averageBits, allocation: 'even', seed, device, threads, ...calls })
  } finally {
    model.dispose()
  }
}
