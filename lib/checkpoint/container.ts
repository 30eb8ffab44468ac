import { checkPadding, storedWeight } from '../graph/constants.js'
import { constantsOf, type Graph, type Tensor } from '../graph/graph.js'
import type { Scheme, WeightCode } from '../graph/scheme.js'
import { checkAllRead, checkOutput, constantShapes, validateGraph } from '../graph/validate.js'
import { checkAllUsed, validateScheme, validateWeightSizes } from '../graph/validate-scheme.js'
import { checkFields, isObject, type JsonObject, show } from '../values.js'
import { codeFromJson, codeToJson } from './code-json.js'
import { graphFromJson, graphToJson } from './graph-json.js'
import { parseJson } from './json.js'
import { openSafetensors, type SafetensorsFile } from './safetensors.js'
import { safetensorsBytes, type TensorToWrite, writeSafetensors } from './safetensors-write.js'

/**
 * The .fewbit file: a safetensors file whose metadata say `format` "fewbit". Packed weights are `<weight>.codes` (U8) and `<weight>.steps`
 * (F32), all other constants F32 under their names; graph, codes, preprocessing, labels and report are JSON in the metadata.
 */

export interface ContainerParts {
  graph: Graph
  scheme: Scheme
  /** How images become input; opaque here. */
  preprocessing: unknown
  labels: string[]
  /** What the quantization measured; opaque here. */
  report?: unknown
}

/** As read: the graph's constants lack the weights, which are codes in the scheme. */
export interface Container extends Required<ContainerParts> {
  kind: 'container'
  what: string
}

const FORMAT = 'fewbit'
/** 2: coverage, and codes with factors. 3: relative codes. 4: codes with a fine first row. */
const VERSION = 4

/**
 * Writes the file completely or not at all.
 *
 * @returns its bytes
 * @throws Error when the parts do not fit together, or the file cannot be written
 */
export async function writeContainer(path: string, parts: ContainerParts): Promise<number> {
  const { tensors, metadata } = encode(parts)
  return writeSafetensors(path, tensors, metadata)
}

/** The bytes of the file that {@link writeContainer} would write. */
export function containerBytes(parts: ContainerParts): number {
  const { tensors, metadata } = encode(parts)
  return safetensorsBytes(tensors, metadata)
}

function encode(parts: ContainerParts): { tensors: TensorToWrite[]; metadata: Record<string, string> } {
  const { graph, scheme, preprocessing, labels, report = null } = parts
  validateGraph(graph, scheme)
  checkAllRead(graph)
  checkAllUsed(validateScheme(graph, scheme), scheme)
  checkLabels(graph, labels)
  const used = new Set(graph.nodes.flatMap(constantsOf))
  const tensors: TensorToWrite[] = []
  const weights: JsonObject = {}
  for (const name of used) {
    const code = scheme.weights.get(name)
    if (code) {
      const { packed } = code
      weights[name] = [code.bits, code.outputs, code.inputs]
      tensors.push({ name: `${name}.codes`, dtype: 'U8', shape: [packed.length], data: packed })
      tensors.push({ name: `${name}.steps`, dtype: 'F32', shape: [code.outputs], data: code.steps })
    } else {
      const { shape, data } = graph.constants.get(name) as Tensor
      tensors.push({ name, dtype: 'F32', shape, data })
    }
  }
  const edges = Object.fromEntries([...scheme.edges].map(([name, code]) => [name, codeToJson(code)]))
  const coverage = scheme.coverage === 'partial' ? {} : { coverage: scheme.coverage }
  const metadata = { graph: graphToJson(graph), scheme: { ...coverage, weights, edges }, preprocessing, labels, report }
  const encoded = Object.entries(metadata).map(([key, value]) => [key, JSON.stringify(value ?? null)])
  return { tensors, metadata: { format: FORMAT, version: String(versionOf(scheme)), ...Object.fromEntries(encoded) } }
}

/** The oldest version of the format that can say all this, so that older packages read what they can run. */
function versionOf({ coverage, edges }: Scheme): number {
  const codes = [...edges.values()]
  if (codes.some(({ fineFirst }) => fineFirst !== undefined)) return 4
  if (codes.some(({ relative }) => relative)) return 3
  return coverage === 'full' || codes.some(({ factors }) => factors) ? 2 : 1
}

/** @throws Error that names the part of the file which is wrong */
export async function readContainer(source: string | Uint8Array): Promise<Container> {
  const file = await openSafetensors(source)
  try {
    return await parseContainer(file)
  } finally {
    await file.close()
  }
}

export function isContainer(file: SafetensorsFile): boolean {
  return file.metadata.format === FORMAT
}

/** Checks all that nodes read. Packed weights are read in place as long as they are used; the file may be closed, replaced and removed. */
export async function parseContainer(file: SafetensorsFile): Promise<Container> {
  try {
    return await parse(file)
  } catch (cause) {
    const { message } = cause as Error
    // The file names itself where a tensor of it is at fault.
    if (message.startsWith(file.what)) throw cause
    throw new Error(`${file.what}: ${message}`, { cause })
  }
}

async function parse(file: SafetensorsFile): Promise<Container> {
  if (!isContainer(file)) throw new Error('this is not a .fewbit model')
  const version = Number(file.metadata.version)
  if (!(Number.isInteger(version) && version > 0)) throw new Error(`unknown version ${file.metadata.version} of the format`)
  if (version > VERSION) {
    throw new Error(`written in version ${version} of the format, this fewbit reads up to ${VERSION}: update the package`)
  }
  // Other keys of the metadata are free for other programs, as in any safetensors file.
  const part = (key: string): unknown => {
    if (!Object.hasOwn(file.metadata, key)) throw new Error(`the metadata lack ${key}`)
    return parseJson(file.metadata[key], key)
  }
  file.map()
  const { scheme, constants } = await readTensors(file, part('scheme'))
  const graph: Graph = { ...graphFromJson(part('graph'), constantShapes({ constants }, scheme)), constants }
  checkOutput(graph)
  checkAllRead(graph)
  checkAllUsed(validateScheme(graph, scheme), scheme)
  checkNoneLeft(graph, scheme)
  const labels = part('labels')
  checkLabels(graph, labels)
  return { kind: 'container', what: file.what, graph, scheme, preprocessing: part('preprocessing'), labels, report: part('report') }
}

/** @throws Error that names a tensor of floats which no node reads, or which is there beside its codes */
function checkNoneLeft({ nodes, constants }: Graph, { weights }: Scheme): void {
  const read = new Set(nodes.flatMap(constantsOf))
  const left = [...constants.keys()].find((name) => !read.has(name) || weights.has(name))
  if (left !== undefined) throw new Error(`nothing reads the tensor ${left}`)
}

function checkLabels(graph: Graph, labels: unknown): asserts labels is string[] {
  if (!Array.isArray(labels) || !labels.every((label) => typeof label === 'string')) throw new Error('labels are not strings')
  const { width: classes } = graph.edges.get(graph.output) as { width: number }
  if (labels.length !== classes) throw new Error(`${labels.length} labels for ${classes} classes`)
}

/** What is no code of the scheme and no steps is a constant. */
async function readTensors(file: SafetensorsFile, json: unknown): Promise<{ scheme: Scheme; constants: Map<string, Tensor> }> {
  if (!isObject(json) || !isObject(json.weights) || !isObject(json.edges)) throw new Error('the scheme lacks weights or edges')
  checkFields(json, ['coverage', 'weights', 'edges'], 'the scheme')
  const { coverage = 'partial' } = json
  if (coverage !== 'partial' && coverage !== 'full') throw new Error(`unknown coverage ${show(coverage)} of the scheme`)
  const scheme: Scheme = { weights: new Map(), edges: new Map(), coverage }
  for (const [name, code] of Object.entries(json.edges)) scheme.edges.set(name, codeFromJson(code, name))
  const codes = new Set(Object.keys(json.weights).map((name) => `${name}.codes`))
  const constants = await file.readTensors(file.names().filter((name) => !codes.has(name)))
  for (const [name, shape] of Object.entries(json.weights)) {
    const steps = constants.get(`${name}.steps`)
    if (!steps) throw new Error(`there is no tensor ${name}.steps`)
    scheme.weights.set(name, await readWeight(file, name, shape, steps))
    constants.delete(`${name}.steps`)
  }
  return { scheme, constants }
}

async function readWeight(file: SafetensorsFile, name: string, json: unknown, steps: Tensor): Promise<WeightCode> {
  if (!Array.isArray(json) || json.length !== 3) throw new Error(`${name}: expected [bits, outputs, inputs]`)
  const [bits, outputs, inputs] = json
  if (file.info(`${name}.steps`)?.dtype !== 'F32' || steps.shape.length !== 1) throw new Error(`${name}: its steps are not a row of F32`)
  if (file.info(`${name}.codes`)?.dtype !== 'U8') throw new Error(`${name}: its codes are missing or not U8`)
  const blob = await file.blob(`${name}.codes`)
  const code = storedWeight(blob, { bits, outputs, inputs, steps: steps.data })
  validateWeightSizes(code, name)
  try {
    checkPadding(blob, code)
  } catch (cause) {
    throw new Error(`${name}: ${(cause as Error).message}`, { cause })
  }
  return code
}
