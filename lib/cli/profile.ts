import { Command } from 'commander'
import type { Profile, ProfiledOp } from '../index.js'
import { adviceLines } from '../model/advice.js'
import { alike, type Layers, together } from '../model/alike.js'
import { formatBytes, formatMs, formatPercent, pairs, table } from '../report/terminal.js'
import { prepareModel, QUANTIZED_FIRST } from './bench.js'
import { type BitOptions, options } from './options.js'
import { print, printJson, type Terminal, withProgress } from './terminal.js'

interface Options extends BitOptions {
  batch: number
  threads?: number
  seed: number
  layers?: boolean
  json?: boolean
}

/** `fewbit profile MODEL` */
export function profileCommand(terminal: Terminal): Command {
  return new Command('profile')
    .description(
      `Tell where the time of a model goes, beside the least that this machine would need, and which layers are slow and why. ${QUANTIZED_FIRST}`,
    )
    .argument(
      '<model>',
      'checkpoint folder, .fewbit file, or the name of an architecture (deit-small, swin-tiny), which gets random weights',
    )
    .option('--layers', 'every layer by itself, not those of all blocks together')
    .addOption(options.batch())
    .addOption(options.threads())
    .addOption(options.bits())
    .addOption(options.averageBits())
    .addOption(options.seed())
    .addOption(options.json())
    .action((name: string, given: Options) => action(terminal, name, given))
}

async function action(terminal: Terminal, name: string, given: Options): Promise<void> {
  const { batch, threads, seed, layers = false, json = false } = given
  const { signal } = terminal
  const result = await withProgress(terminal, 'profile', json, async (onProgress) => {
    const model = await prepareModel(name, given, { signal, onProgress })
    try {
      return await model.profile({ batch, threads, seed, signal, onProgress })
    } finally {
      model.dispose()
    }
  })
  if (json) return printJson(terminal, result)
  print(terminal, describe(name, result, layers))
}

function describe(name: string, profile: Profile, layers: boolean): string {
  const { path, threads, batch, runs, msPerImage, peaks, ops, advice } = profile
  const giga = (rate: number): string => (rate / 1e9).toFixed(0)
  const rows = layers ? ops.map((op) => together(op.name, [op])) : alike(ops)
  const total = ops.reduce((sum, { milliseconds }) => sum + milliseconds, 0)
  const head = pairs([
    ['model', name],
    ['time', `${formatMs(msPerImage)} an image (batch ${batch}, ${threads} thread${threads > 1 ? 's' : ''}, median of ${runs} runs)`],
    ['a core does', `${giga(peaks.int8)} GOP/s on codes, ${giga(peaks.floats)} GOP/s on floats (path ${path})`],
    ['and reads', peaks.reads.map(({ bytes, speed }) => `${giga(speed)} GB/s of ${formatBytes(bytes)}`).join(', ')],
  ])
  const figures = table(
    [
      { title: layers ? 'layer' : 'layers' },
      { title: 'op' },
      ...['calls', 'bits', 'time', 'share', 'MOP', 'MB', 'GOP/s', 'roofline'].map((title) => ({ title, align: 'right' as const })),
      { title: 'bound by' },
    ],
    rows.map((row) => cells(row, total)),
  )
  return [head, figures, ...adviceLines(advice)].join('\n\n')
}

function cells({ name, ops, milliseconds, roofline }: Layers, total: number): string[] {
  const sum = (value: (op: ProfiledOp) => number): number => ops.reduce((all, op) => all + value(op), 0)
  const operations = sum((op) => op.int8 + op.floats)
  const bytes = sum((op) => op.activationBytes + op.inputBytes + op.weightBytes)
  const bits = [...new Set(ops.map(({ weightBits }) => weightBits))].sort((a, b) => Number(a) - Number(b))
  const byOperations = sum((op) => (op.bound === 'operations' ? op.milliseconds : 0))
  return [
    name,
    ops[0].op,
    String(ops.length),
    bits.map((bit) => bit ?? '').join(' '),
    formatMs(milliseconds),
    formatPercent(milliseconds / total, 1),
    (operations / 1e6).toFixed(1),
    (bytes / 1e6).toFixed(2),
    (operations / 1e6 / milliseconds).toFixed(0),
    formatPercent(roofline, 0),
    byOperations >= milliseconds / 2 ? 'operations' : 'bytes',
  ]
}
