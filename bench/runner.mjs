// What all benchmarks have in common: interleaved runs and their medians, the machine and how busy it was, one line of JSON a row.
//   --json    rows on stdout as lines of JSON and nothing else; without it they become tables for people
import { existsSync, readFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { devices } from '../dist/esm/index.js'
import { median } from '../dist/esm/model/statistics.js'
import { table } from '../dist/esm/report/terminal.js'

/**
 * Where checkpoints and images lie that are not part of the repository: the folder that FEWBIT_SHARED names, else `shared` beside the
 * checkout. In it are zoo/<model>, a checkpoint each, cifar10/ (CIFAR-10 in its binary form) and imagenet-like/{calibration,test}
 * (photographs with labels).
 */
export const SHARED = process.env.FEWBIT_SHARED ?? join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'shared')

export const say = (text) => process.stderr.write(`${text}\n`)

/** Those of `paths` that are not in {@link SHARED}, as they are called in messages. */
export const missing = (paths) => paths.filter((path) => !existsSync(join(SHARED, path))).map((path) => join(SHARED, path))

/** Ends the program for what its command line says. */
export function misused(message) {
  say(message)
  process.exit(2)
}

/** The command line as parseArgs reads it. What it cannot read ends the program, and so does --help, which shows the comment on top of the program. */
export function readCommandLine(options, allowPositionals = false) {
  const known = { ...options, help: { type: 'boolean' } }
  const names = Object.keys(known).map((name) => `--${name}`)
  try {
    const { values, positionals } = parseArgs({ options: known, allowPositionals })
    if (!values.help) return { values, positionals }
  } catch ({ message }) {
    // What follows the first sentence is about other command lines.
    misused(`${message.split(/\.\s/)[0]}; the options are ${names.join(', ')}`)
  }
  const [comment] = /^(\/\/.*\n)+/.exec(readFileSync(process.argv[1], 'utf8'))
  process.stdout.write(`${comment.replaceAll(/^\/\/ ?/gm, '')}Options: ${names.join(', ')}\n`)
  process.exit(0)
}

/** A benchmark by name: its options, its rows. */
export class Bench {
  /**
   * @param options as parseArgs takes them, beside --json
   * @param allowPositionals whether there are arguments that are no options: `files`
   */
  constructor(name, options = {}, { allowPositionals = false } = {}) {
    this.name = name
    const { values, positionals } = readCommandLine({ ...options, json: { type: 'boolean', default: false } }, allowPositionals)
    this.args = values
    this.files = positionals
    this.rows = []
  }

  /** Those of `known` that an option names, in their order; all where it is not given. */
  among(name, known) {
    const given = [this.args[name] ?? known].flat().map(String)
    for (const text of given) if (!known.map(String).includes(text)) misused(`--${name} must be ${known.join(' or ')}, not ${text}`)
    return known.filter((each) => given.includes(String(each)))
  }

  /** The whole numbers that an option gives. */
  wholes(name, least = 1) {
    return [this.args[name]].flat().map((text) => {
      if (!/^\d{1,9}$/.test(text) || Number(text) < least) misused(`--${name} must be a whole number from ${least} on, not ${text}`)
      return Number(text)
    })
  }

  /** The whole number that an option gives. */
  whole(name, least = 1) {
    return this.wholes(name, least)[0]
  }

  /** Adds a row and returns it. */
  row(values) {
    const row = { bench: this.name, ...values, machine: machine(), load: loadavg()[0] }
    this.rows.push(row)
    if (this.args.json) process.stdout.write(`${JSON.stringify(row)}\n`)
    return row
  }

  /** For people alone. */
  print(text) {
    if (!this.args.json) process.stdout.write(`${text}\n`)
  }

  /** @param columns title -> the text of a row's cell; the first column is on the left */
  table(columns, rows = this.rows) {
    const titles = Object.keys(columns).map((title, i) => ({ title, align: i === 0 ? 'left' : 'right' }))
    this.print(
      table(
        titles,
        rows.map((row) => Object.values(columns).map((cell) => cell(row))),
      ),
    )
  }
}

/** What a figure depends on. */
export function machine() {
  const cpu = devices().filter(({ device }) => device === 'cpu')
  const amx = cpu.find(({ path }) => path === 'amx')
  return {
    cpu: cpus()[0]?.model.trim(),
    cores: cpus().length,
    path: cpu.find(({ chosen }) => chosen)?.path,
    amx: amx?.runs ?? false,
    node: process.versions.node,
  }
}

export const machineText = ({ cpu, cores, path, amx, node }) =>
  `${cpu}, ${cores} cores, path ${path}, ${amx ? 'with' : 'without'} AMX, Node ${node}, load ${loadavg()[0].toFixed(2)}`

/** Threads of some runtimes go on spinning for a while after a run; nobody is timed meanwhile. */
const SETTLE = 10

/**
 * Runs of all contestants in turn, so that a slow phase of the machine hits all of them; every other round goes backwards.
 *
 * @param contestants objects with `run`, an async function
 * @param seconds about as long as this may take; there are `least` to `most` rounds
 * @returns for each contestant { median, min, max, cpu, rounds }, milliseconds a run; cpu is the median of what the processor worked for
 *   this process, which other programs do not lengthen, but which counts threads that wait by spinning
 */
export async function interleave(contestants, { seconds = 30, least = 5, most = 25 } = {}) {
  const times = contestants.map(() => [])
  const cpus = contestants.map(() => [])
  const once = async (i) => {
    await new Promise((resolve) => setTimeout(resolve, SETTLE))
    const [start, before] = [performance.now(), process.cpuUsage()]
    await contestants[i].run()
    const { user, system } = process.cpuUsage(before)
    return { time: performance.now() - start, cpu: (user + system) / 1000 }
  }
  let round = 0
  for (const i of contestants.keys()) await once(i)
  for (const i of contestants.keys()) round += (await once(i)).time
  const rounds = Math.min(most, Math.max(least, Math.floor((1000 * seconds) / round)))
  for (let r = 0; r < rounds; r++) {
    const order = [...contestants.keys()]
    for (const i of r % 2 ? order.reverse() : order) {
      const { time, cpu } = await once(i)
      times[i].push(time)
      cpus[i].push(cpu)
    }
  }
  return times.map((found, i) => {
    const [min, max] = [Math.min(...found), Math.max(...found)]
    return { median: median(found), min, max, cpu: median(cpus[i]), rounds }
  })
}
