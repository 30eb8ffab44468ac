import { type Checkpoint, openCheckpoint } from '../checkpoint/checkpoint.js'
import type { Container } from '../checkpoint/container.js'
import type { Graph } from '../graph/graph.js'
import { isBytes } from '../images/image.js'
import { checkPreprocessing, type Preprocessing, preprocessingFromConfig } from '../images/preprocess.js'
import { buildGraph } from '../models/index.js'
import { randomGraph } from '../models/random.js'
import { checkSeed } from '../random.js'
import { checkOptionsOf, type Known, kindOf } from '../values.js'
import { checkDevice } from './device.js'
import { DEVICE_OPTIONS } from './known-options.js'
import { type DeviceOptions, Model, type ModelParts } from './model.js'
import { quantizationFromJson } from './quantization.js'

export interface LoadOptions extends DeviceOptions {
  signal?: AbortSignal
}

const KNOWN: Known<LoadOptions> = { ...DEVICE_OPTIONS, signal: true }

/**
 * Opens a checkpoint folder (transformers or timm layout) as a float model, or a .fewbit file as a quantized one.
 *
 * @param source a folder, a .fewbit file, or the bytes of one
 * @throws Error that says which file, tensor or setting is missing, broken or not supported; TypeError for an unknown option
 */
export async function load(source: string | Uint8Array, options: LoadOptions = {}): Promise<Model> {
  checkOptionsOf('load', options, KNOWN)
  const { signal, ...device } = options
  if (typeof source !== 'string' && !isBytes(source)) {
    throw new TypeError(`load takes a checkpoint's folder, a .fewbit file or the bytes of one, not ${kindOf(source)}`)
  }
  checkDevice(device)
  signal?.throwIfAborted()
  const opened = await openCheckpoint(source)
  const parts = opened.kind === 'container' ? fromContainer(opened) : await fromCheckpoint(opened, signal)
  signal?.throwIfAborted()
  return new Model(parts, device)
}

/**
 * A float model of a known architecture ('vit-tiny', 'deit-small', 'swin-tiny', ...; 224 x 224, 1000 classes) with seeded random weights:
 * for timing.
 */
export async function randomModel(architecture: string, options: LoadOptions & { seed?: number } = {}): Promise<Model> {
  checkOptionsOf('randomModel', options, { ...KNOWN, seed: true })
  const { seed = 0, signal, ...device } = options
  checkDevice(device)
  checkSeed(seed)
  const graph = await randomGraph(architecture, seed)
  signal?.throwIfAborted()
  const { channels, height, width } = imageSize(graph)
  const preprocessing: Preprocessing = {
    resize: { mode: 'exact', height, width },
    resample: 'bilinear',
    crop: null,
    rescale: 1 / 255,
    mean: [0.5, 0.5, 0.5],
    std: [0.5, 0.5, 0.5],
    channels: channels as 1 | 3,
    height,
    width,
  }
  return new Model({ graph, scheme: null, preprocessing, labels: numberedLabels(graph) }, device)
}

function fromContainer({ what, graph, scheme, preprocessing, labels, report }: Container): ModelParts {
  const checked = checkPreprocessing(preprocessing, `${what}: preprocessing`)
  checkInput(what, graph, checked)
  return { graph, scheme, preprocessing: checked, labels, quantization: quantizationFromJson(report) }
}

async function fromCheckpoint(checkpoint: Checkpoint, signal: AbortSignal | undefined): Promise<ModelParts> {
  const { what, config, preprocessorConfig, tensors } = checkpoint
  try {
    signal?.throwIfAborted()
    const graph = await buildGraph(checkpoint)
    const preprocessing = preprocessingFromConfig(preprocessorConfig, config)
    checkInput(what, graph, preprocessing)
    const labels = checkpoint.labels ?? numberedLabels(graph)
    const classes = numberedLabels(graph).length
    if (labels.length !== classes) {
      throw new Error(`${what}: config.json names ${labels.length} classes, but the classifier has ${classes}`)
    }
    return { graph, scheme: null, preprocessing, labels }
  } finally {
    await tensors.close()
  }
}

function numberedLabels(graph: Graph): string[] {
  const classes = graph.edges.get(graph.output)?.width as number
  return Array.from({ length: classes }, (_, i) => String(i))
}

function imageSize(graph: Graph): { channels: number; height: number; width: number } {
  for (const node of graph.nodes) if (node.op === 'patchify' && node.input === graph.input) return node
  throw new Error('the graph does not read an image')
}

function checkInput(what: string, graph: Graph, { channels, height, width }: Preprocessing): void {
  const size = imageSize(graph)
  if (size.channels !== channels || size.height !== height || size.width !== width) {
    throw new Error(
      `${what}: preprocessing makes images of ${channels}x${height}x${width}, ` +
        `but the model was trained on ${size.channels}x${size.height}x${size.width}`,
    )
  }
}
