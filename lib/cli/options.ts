import { InvalidArgumentError, Option } from 'commander'
import type { AnyPart, DeviceName } from '../index.js'
import { MOST_BATCH } from '../model/known-options.js'
import { EXTRAS, PARTS } from '../quant/parts.js'
import { PUBLISHED_PARTS } from '../quant/published/parts.js'

/** Options that more than one command has, and the strict numbers behind them: '4 ', '0x4', '4.0' and '' are not integers here. */

function integer(min: number, max: number) {
  return (text: string): number => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`)
    return value
  }
}

function decimal(min: number, max: number) {
  return (text: string): number => {
    const value = /^\d{1,10}(\.\d{1,10})?$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`It must be a number from ${min} to ${max}.`)
    return value
  }
}

function deviceName(text: string): DeviceName {
  if (/^(cpu|auto|cuda(:\d{1,3})?)$/.test(text)) return text as DeviceName
  throw new InvalidArgumentError('It must be one of cpu, cuda, auto, or cuda:1 for the second device.')
}

const listOf =
  <P extends AnyPart>(parts: readonly P[]) =>
  (text: string): P[] => {
    const given = text.split(',').map((part) => part.trim()) as P[]
    if (!given.every((part) => parts.includes(part))) throw new InvalidArgumentError(`It must be a list of ${parts.join(', ')}.`)
    return given
  }

const MAX_SEED = 2 ** 32 - 1

/** Makes a fresh Option each time: commander keeps state in them. */
export const options = {
  bits: () =>
    new Option('--bits <n>', 'bits of every weight and every activation; the patch embedding keeps 8')
      .argParser(integer(2, 8))
      .conflicts(['averageBits', 'weightBits', 'activationBits']),
  weightBits: () =>
    new Option('--weight-bits <n>', 'bits of every weight (default with --activation-bits: 8)')
      .argParser(integer(2, 8))
      .conflicts('averageBits'),
  activationBits: () =>
    new Option('--activation-bits <n>', 'bits of every activation (default with --weight-bits: 8)')
      .argParser(integer(2, 8))
      .conflicts('averageBits'),
  averageBits: () =>
    new Option('--average-bits <x>', 'bound on the average bits of weights and, separately, of activations').argParser(decimal(2, 8)),
  preset: () =>
    new Option('--preset <name>', 'how codes are chosen; mptq and tsptq as published, minmax is the baseline')
      .choices(['best', 'mptq', 'tsptq', 'minmax'])
      .default('best'),
  without: () =>
    new Option(
      '--without <parts>',
      `parts of the preset to leave out, separated by commas; of best: ${PARTS.join(', ')}; of mptq: ${PUBLISHED_PARTS.join(', ')}`,
    ).argParser(listOf<AnyPart>([...new Set([...PARTS, ...PUBLISHED_PARTS])])),
  with: () => new Option('--with <parts>', `parts that are left out by default: ${EXTRAS.join(', ')}`).argParser(listOf(EXTRAS)),
  coverage: () =>
    new Option('--coverage <name>', 'full: all that is stored is codes; partial: operands of matrix products only')
      .choices(['full', 'partial'])
      .default('full'),
  allocation: () =>
    new Option(
      '--allocation <name>',
      'how best spreads an average: with the least sum of damages, bit by bit, or by size alone (default: knapsack)',
    ).choices(['knapsack', 'greedy', 'even']),
  maxDrop: () =>
    new Option('--max-drop <x>', 'search the fewest bits with which top-1 falls by x percentage points at most').argParser(decimal(0, 100)),
  objective: () =>
    new Option('--objective <name>', 'latency: time each layer at each width here, and leave out widths that lose both time and bytes')
      .choices(['bits', 'latency'])
      .default('bits'),
  calibrationImages: () =>
    new Option('--calibration-images <n>', 'images drawn from the calibration data (default: 128)').argParser(integer(1, 1_000_000)),
  seed: () => new Option('--seed <n>', 'fixes every random choice').argParser(integer(0, MAX_SEED)).default(0),
  threads: () => new Option('--threads <n>', 'threads to use (default: what this process may use)').argParser(integer(1, 256)),
  batch: () => new Option('--batch <n>', 'images a run').argParser(integer(1, MOST_BATCH)).default(1),
  device: (what = 'where to run') => new Option('--device <name>', `${what}: cpu, cuda, cuda:1, auto`).argParser(deviceName).default('cpu'),
  json: () => new Option('--json', 'print one line of JSON on stdout and nothing else there'),
}

export interface BitOptions {
  bits?: number
  averageBits?: number
}
