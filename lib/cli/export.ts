import { Command, Option } from 'commander'
import { checkReplaceable, replaceFile } from '../checkpoint/replace-file.js'
import { exportOnnx, type OnnxFormat } from '../index.js'
import { ONNX_FORMATS } from '../model/export-onnx.js'
import { formatBytes, pairs } from '../report/terminal.js'
import { namesArchitecture, noiseFor, openModel } from './open.js'
import { options } from './options.js'
import { print, printJson, type Terminal, withProgress } from './terminal.js'

interface Options {
  onnx: OnnxFormat
  output: string
  calibrate?: string
  calibrationImages?: number
  seed: number
  threads?: number
  json?: boolean
}

/** `fewbit export CHECKPOINT --onnx FORM -o FILE` */
export function exportCommand(terminal: Terminal): Command {
  return new Command('export')
    .description('Write a checkpoint as an ONNX file for other runtimes.')
    .argument(
      '<checkpoint>',
      'folder with config.json and model.safetensors, or the name of an architecture (deit-small, swin-tiny), which gets random weights',
    )
    .addOption(
      new Option('--onnx <form>', 'float; or linear layers on 8 bits, activations quantized at run time or by calibration')
        .choices(ONNX_FORMATS)
        .makeOptionMandatory(),
    )
    .requiredOption('-o, --output <file>', 'the file to write')
    .option(
      '--calibrate <data>',
      'for int8-qdq, images to calibrate on: folder of classes, folder with labels.csv, CIFAR-10 .bin (random weights: noise)',
    )
    .addOption(options.calibrationImages())
    .addOption(options.seed())
    .addOption(options.threads())
    .addOption(options.json())
    .action((checkpoint: string, given: Options) => action(terminal, checkpoint, given))
}

async function action(terminal: Terminal, checkpoint: string, given: Options): Promise<void> {
  const { json = false, output, onnx: format, calibrationImages, seed, threads } = given
  const { signal } = terminal
  await checkReplaceable(output)
  const model = await openModel(checkpoint, { seed, threads, signal })
  try {
    const calibrate = given.calibrate ?? (format === 'int8-qdq' && namesArchitecture(checkpoint) ? noiseFor(model, seed) : undefined)
    const bytes = await withProgress(terminal, 'exporting', json, (onProgress) =>
      exportOnnx(model, { format, calibrate, calibrationImages, seed, threads, signal, onProgress }),
    )
    signal.throwIfAborted()
    await replaceFile(output, (handle) => handle.writeFile(bytes))
    const { architecture } = model.info()
    if (json) return printJson(terminal, { file: output, format, architecture, bytes: bytes.length })
    print(
      terminal,
      pairs([
        ['file', output],
        ['size', formatBytes(bytes.length)],
        ['form', `${format}, ONNX opset 17`],
      ]),
    )
  } finally {
    model.dispose()
  }
}
