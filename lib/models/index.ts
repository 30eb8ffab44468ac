import type { Checkpoint } from '../checkpoint/checkpoint.js'
import type { Graph } from '../graph/graph.js'
import { show } from '../values.js'
import { buildTimmSwin, TIMM_SWIN } from './swin-timm.js'
import { buildTransformersSwin } from './swin-transformers.js'
import { buildTimmVit, TIMM_VIT } from './vit-timm.js'
import { buildTransformersVit } from './vit-transformers.js'

/**
 * Which architectures there are, and who builds them.
 */

interface Architecture {
  /** For the message about unknown ones. */
  name: string
  matches(config: Checkpoint['config']): boolean
  build(checkpoint: Pick<Checkpoint, 'config' | 'tensors'>): Promise<Graph>
}

const timm = (pattern: RegExp) => (config: Checkpoint['config']) =>
  config.model_type === undefined && typeof config.architecture === 'string' && pattern.test(config.architecture)

const ARCHITECTURES: Architecture[] = [
  { name: 'vit (transformers)', matches: ({ model_type }) => model_type === 'vit', build: buildTransformersVit },
  { name: 'deit (transformers)', matches: ({ model_type }) => model_type === 'deit', build: buildTransformersVit },
  {
    name: 'vit_{tiny,small,base,large}_patchN_N, deit_{tiny,small,base}[_distilled]_patchN_N (timm)',
    matches: timm(TIMM_VIT),
    build: buildTimmVit,
  },
  { name: 'swin (transformers)', matches: ({ model_type }) => model_type === 'swin', build: buildTransformersSwin },
  { name: 'swin_{tiny,small,base,large}_patchN_windowN_N (timm)', matches: timm(TIMM_SWIN), build: buildTimmSwin },
]

/**
 * The float graph of a checkpoint. Reads all weights; the checkpoint can be closed afterwards.
 *
 * @throws Error that lists the known architectures when this is none of them, or names the option or tensor which does not fit
 */
export async function buildGraph(checkpoint: Pick<Checkpoint, 'config' | 'tensors'>): Promise<Graph> {
  const { config, tensors } = checkpoint
  const known = ARCHITECTURES.find((architecture) => architecture.matches(config))
  if (known) return known.build(checkpoint)
  const name = config.model_type ?? config.architecture
  const what = name === undefined ? 'config.json names neither model_type nor architecture' : `${show(name)} is not supported`
  throw new Error(`${tensors.what}: ${what}; known are ${ARCHITECTURES.map((architecture) => architecture.name).join('; ')}`)
}
