import { createHash, type Hash } from 'node:crypto'
import { mkdir, readFile, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { readContainer, writeContainer } from '../checkpoint/container.js'
import { graphToJson } from '../checkpoint/graph-json.js'
import { parseJsonObject } from '../checkpoint/json.js'
import { checkReplaceable, replaceFile } from '../checkpoint/replace-file.js'
import { breather } from '../codes/breathe.js'
import type { NarrowStep } from '../codes/narrow.js'
import type { Graph } from '../graph/graph.js'
import type { Scheme } from '../graph/scheme.js'
import type { Divergence } from '../quant/assemble.js'
import type { Calibration } from '../quant/observe.js'
import type { AnyPart } from '../quant/presets.js'
import type { PublicWidths, QuantizedModel, Quantizer } from '../quant/quantizer.js'
import { type DamageStore, USUAL_WIDTHS, WIDTHS } from '../quant/search.js'
import { choosePath } from '../runtime/devices.js'
import { isAmount, isObject } from '../values.js'
import type { ModelParts } from './model.js'
import { isTrajectory } from './quantization.js'

/**
 * Files of a folder that keep what a search took long to find. Each is named by a hash of all that it depends on, so nothing in it is ever
 * out of date, and what cannot be read is as good as not there.
 */

/** To be counted up whenever a search finds other codes or damages for the same input, or more is kept of it. */
const SEARCH_VERSION = 18
/** Bytes hashed between two chances for the event loop: about a millisecond. */
const SLICE = 1 << 20
/** Damages are written when so long ago they were last, and at the end. */
const WRITE_MS = 2000

/** What is kept of a quantized graph: it runs, but lacks the float weights. */
export interface CachedGraph extends Divergence {
  graph: Graph
  scheme: Scheme
  trajectory: NarrowStep[]
}

export interface CacheKey {
  preset: string
  coverage: Scheme['coverage']
  allocation: string
  /** In the order of the preset's parts, each once. */
  without: readonly AnyPart[]
}

export class Cache {
  private constructor(
    private readonly folder: string,
    /** Of model, images and settings. */
    private readonly hash: string,
    private readonly parts: ModelParts,
    private readonly warn: (message: string) => void,
  ) {}

  /** @throws Error when the folder cannot be made or written to */
  static async check(folder: string): Promise<void> {
    await makeFolder(resolve(folder)).catch((cause) => {
      throw new Error(`the cache ${folder} cannot be made: ${cause.message}`, { cause })
    })
    await checkReplaceable(join(folder, 'model.fewbit'))
  }

  /** @param warn told of files that cannot be read or written; the search goes on without them */
  static async open(
    folder: string,
    parts: ModelParts,
    calibration: Calibration,
    key: CacheKey,
    warn: (message: string) => void,
    signal?: AbortSignal,
  ): Promise<Cache> {
    const hash = createHash('sha256')
    const breathe = breather(signal)
    // Float sums, and all that is chosen by them, differ between paths.
    hash.update(JSON.stringify([SEARCH_VERSION, key, choosePath(undefined), graphToJson(parts.graph)]))
    for (const [name, { shape, data }] of parts.graph.constants) {
      hash.update(JSON.stringify([name, shape]))
      await update(hash, data, breathe)
    }
    await update(hash, calibration.pixels, breathe)
    return new Cache(folder, hash.digest('hex'), parts, warn)
  }

  /** The quantized model of these widths, or null. */
  private async read(widths: PublicWidths): Promise<CachedGraph | null> {
    const path = this.modelPath(widths)
    return this.attempt(path, async () => {
      const { graph, scheme, report } = await readContainer(await readFile(path))
      if (!isObject(report) || !isAmount(report.divergence) || !isAmount(report.spread)) throw new Error('it lacks its divergence')
      if (!isTrajectory(report.trajectory)) throw new Error('it lacks its trajectory')
      return { graph, scheme, divergence: report.divergence, spread: report.spread, trajectory: report.trajectory }
    })
  }

  /** Whether there is a file for these widths. */
  has(widths: PublicWidths): Promise<boolean> {
    return stat(this.modelPath(widths)).then(
      () => true,
      () => false,
    )
  }

  /** What was made once is read from then on. */
  around(quantizer: Quantizer): (widths: PublicWidths) => Promise<QuantizedModel | CachedGraph> {
    return async (widths) => {
      const known = await this.read(widths)
      if (known) return known
      const made = await quantizer(widths)
      await this.write(widths, made)
      return made
    }
  }

  private async write(widths: PublicWidths, { graph, scheme, divergence, spread, trajectory }: CachedGraph): Promise<void> {
    const { preprocessing, labels } = this.parts
    await this.keep(() =>
      writeContainer(this.modelPath(widths), { graph, scheme, preprocessing, labels, report: { divergence, spread, trajectory } }).then(
        () => {},
      ),
    )
  }

  /** Damages of operands, those of an earlier search among them. */
  async damages(): Promise<Damages> {
    const path = join(this.folder, `damages-${this.hash}.json`)
    const known = await this.attempt(path, async () => parseDamages(await readFile(path)))
    return new Damages(known ?? new Map(), (text) => this.keep(() => replaceFile(path, (handle) => handle.writeFile(text))))
  }

  private modelPath(widths: PublicWidths): string {
    const hash = createHash('sha256').update(JSON.stringify([this.hash, widths]))
    return join(this.folder, `model-${hash.digest('hex')}.fewbit`)
  }

  private async attempt<T>(path: string, read: () => Promise<T>): Promise<T | null> {
    try {
      return await read()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.warn(`the cache's ${path} is ignored: ${(error as Error).message}`)
      return null
    }
  }

  /** A cache that fills up costs no result. */
  private async keep(write: () => Promise<void>): Promise<void> {
    await write().catch((error) => this.warn(`the cache keeps less: ${(error as Error).message}`))
  }
}

/** Written every few seconds, so that a search that ends early, however, loses little. */
export class Damages implements DamageStore {
  private written = performance.now()
  private changed = false

  constructor(
    private readonly known: Map<string, number[]>,
    private readonly write: (text: string) => Promise<void>,
  ) {}

  get(unit: string): number[] | undefined {
    return this.known.get(unit)
  }

  async set(unit: string, damages: number[]): Promise<void> {
    this.known.set(unit, damages)
    this.changed = true
    if (performance.now() - this.written >= WRITE_MS) await this.flush()
  }

  async flush(): Promise<void> {
    if (!this.changed) return
    this.changed = false
    await this.write(JSON.stringify(Object.fromEntries(this.known)))
    this.written = performance.now()
  }
}

/** As mkdir with `recursive`, which never ends where a folder that is there takes none (/proc). */
async function makeFolder(folder: string): Promise<void> {
  const isThere = (path: string) =>
    stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    )
  if (await isThere(folder)) return
  if (!(await isThere(dirname(folder)))) await makeFolder(dirname(folder))
  await mkdir(folder).catch(async (error) => {
    if (!(await isThere(folder))) throw error
  })
}

function parseDamages(bytes: Uint8Array): Map<string, number[]> {
  const damages = new Map<string, number[]>()
  const lengths = [WIDTHS.length, USUAL_WIDTHS.length]
  for (const [unit, values] of Object.entries(parseJsonObject(bytes, 'it'))) {
    if (!Array.isArray(values) || !lengths.includes(values.length) || !values.every(isAmount)) throw new Error(`no damages for ${unit}`)
    damages.set(unit, values)
  }
  return damages
}

async function update(hash: Hash, values: Float32Array, breathe: ReturnType<typeof breather>): Promise<void> {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  for (let at = 0; at < bytes.length; at += SLICE) {
    hash.update(bytes.subarray(at, at + SLICE))
    await breathe()
  }
}
