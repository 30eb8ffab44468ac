import { createRequire } from 'node:module'
import { join } from 'node:path'
import addon from '#addon'
import { kindOf } from '../values.js'
import type { NativePath, PlanOp } from './addon-types.js'
import { chooseThreads } from './threads.js'

/** Where a model runs; 'cuda' is the first device. */
export type DeviceName = 'cpu' | 'cuda' | `cuda:${number}` | 'auto'

/** A way to run a model on this machine. */
export interface Device {
  device: 'cpu' | 'cuda' | `cuda:${number}`
  /** The instruction set, which the option `isa` and FEWBIT_ISA know by this name; null for cuda. */
  path: NativePath['name'] | null
  built: boolean
  runs: boolean
  /** What is used when nothing is asked for. */
  chosen: boolean
  /** Why it does not run, or what it uses. */
  reason: string
}

/** Of this package. */
export const VERSION: string = addon.version

/**
 * The name of the path to run on: `name`, else the environment variable FEWBIT_ISA, else the fastest that runs.
 *
 * @throws Error when there is no such path, or it does not run here
 */
export function choosePath(name?: string): NativePath['name'] {
  const paths = addon.paths()
  const asked = name || process.env.FEWBIT_ISA
  if (!asked) return (paths.findLast(({ runs }) => runs) as NativePath).name
  const source = name ? 'isa' : 'FEWBIT_ISA'
  const path = paths.find((path) => path.name === asked)
  const known = paths.map((path) => (path.runs ? path.name : `${path.name} (not here: ${path.reason})`)).join(', ')
  if (!path) throw new Error(`${source} '${asked}' is not known; known are ${known}`)
  if (!path.runs) throw new Error(`${source} '${asked}' does not run here: ${path.reason}. Known are ${known}`)
  return path.name
}

let warned = false

/**
 * What a name means on this machine: the CPU, or one CUDA device. 'auto' is the first CUDA device that runs, else the CPU, with one warning
 * for the process that says why.
 *
 * @throws Error when a CUDA device is asked for that cannot be used, with the reason; TypeError for what is no name of a device
 */
export function chooseDevice(name: DeviceName = 'cpu'): 'cpu' | `cuda:${number}` {
  if (name === 'cpu') return name
  const wanted = typeof name === 'string' ? /^cuda(?::(\d{1,3}))?$/.exec(name) : null
  if (!wanted && name !== 'auto')
    throw new TypeError(
      `device must be 'cpu', 'cuda', 'cuda:1' (a number) or 'auto', not ${typeof name === 'string' ? `'${name}'` : kindOf(name)}`,
    )
  const { reason, devices } = addon.cuda()
  if (wanted) {
    const number = Number(wanted[1] ?? 0)
    const device = devices[number]
    if (device?.runs) return `cuda:${number}`
    const why = device?.reason ?? (reason || `there is no device ${number}, and ${devices.length} in all`)
    throw new Error(`device '${name}' cannot be used: ${why}. Use 'cpu' or 'auto'.`)
  }
  const first = devices.findIndex(({ runs }) => runs)
  if (first >= 0) return `cuda:${first}`
  if (!warned) process.emitWarning(`running on the CPU: ${devices[0]?.reason ?? reason}`, { code: 'FEWBIT_NO_CUDA' })
  warned = true
  return 'cpu'
}
/** For an op that paths implement apart, the slowest path with the same implementation as this one; undefined for all other ops. */
export const kernelOrigin = (path: NativePath['name'], op: PlanOp['op']): NativePath['name'] | undefined => addon.kernelOrigins(path)[op]

/** What quantized models consist of. */
const QUANTIZED_OPS: PlanOp['op'][] = ['patchify', 'linearCodes', 'attentionCodes', 'layernorm', 'layernormCodes', 'pointwise']

/** Everything this build could run on, slowest first. */
export function devices(): Device[] {
  let chosen: string | null = null
  try {
    chosen = choosePath()
  } catch {
    // FEWBIT_ISA names nothing that runs: loading a model says so, and nothing is chosen here.
  }
  const cpu = addon
    .paths()
    .map(({ name, built, runs, reason }): Device => ({ device: 'cpu', path: name, built, runs, chosen: name === chosen, reason }))
  return [...cpu, ...cudaDevices()]
}

function cudaDevices(): Device[] {
  const { built, reason, devices } = addon.cuda()
  const common = { path: null, built, chosen: false }
  if (devices.length === 0) return [{ device: 'cuda', ...common, runs: false, reason }]
  return devices.map(({ runs, reason }, i): Device => ({ device: `cuda:${i}`, ...common, runs, reason }))
}

/** What `fewbit doctor` prints. */
export interface Report {
  node: string
  platform: string
  addon: { version: string; build: string; file: string }
  threads: { threads: number; reason: string }
  devices: Device[]
  /** The version of sharp, which decodes images; null when it is not installed or does not load. */
  sharp: string | null
  /** What is wrong or slower than it could be, and what to do. */
  advice: string[]
}

/** Explains this installation. */
export function doctor(): Report {
  const { version, build, file } = addon
  const { reason } = addon.defaultThreads()
  const list = devices()
  const sharp = sharpVersion()
  return {
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    addon: { version, build, file },
    threads: { threads: chooseThreads(), reason },
    devices: list,
    sharp,
    advice: advise(list, sharp),
  }
}

function advise(list: Device[], sharp: string | null): string[] {
  const advice: string[] = []
  const chosen = list.find((device) => device.chosen)
  if (!chosen) {
    try {
      choosePath()
    } catch (error) {
      advice.push((error as Error).message)
    }
  }
  const amx = list.find(({ path }) => path === 'amx')
  if (amx && chosen && !amx.runs && amx.reason.includes('permission')) {
    advice.push(`${amx.reason}: falling back to ${chosen.path}. Linux 5.16 or newer grants it, unless a sandbox filters arch_prctl.`)
  }
  const fastest = list.findLast(({ device, runs }) => device === 'cpu' && runs)?.path
  if (chosen && chosen.path !== fastest) {
    advice.push(`FEWBIT_ISA chooses ${chosen.path}, though ${fastest} runs here and is faster.`)
  } else if (chosen?.path === 'portable') {
    advice.push('Only the portable path runs here; it is many times slower than the vector paths.')
  }
  for (const { device, path, runs, reason } of list) {
    if (path === null && device !== 'cuda' && !runs) advice.push(`${device} cannot be used: ${reason}.`)
  }
  if (chosen?.path && chosen.path !== 'portable') {
    const slow = QUANTIZED_OPS.filter((op) => kernelOrigin(chosen.path as NativePath['name'], op) === 'portable')
    if (slow.length > 0) {
      advice.push(
        `The path ${chosen.path} has no kernels for ${slow.join(', ')}, which run in plain C++: fewbit profile tells what that costs.`,
      )
    }
  }
  if (sharp === null) advice.push('sharp is not installed or does not load: image files cannot be decoded. npm install sharp')
  return advice
}

/** Looked up from the addon's package and from the working directory. Loaded, because it is installed for one platform. */
function sharpVersion(): string | null {
  for (const from of [addon.file, join(process.cwd(), 'package.json')]) {
    if (!from) continue
    try {
      const { versions } = createRequire(from)('sharp') as { versions: { sharp: string } }
      return versions.sharp
    } catch {
      // Not there.
    }
  }
  return null
}
