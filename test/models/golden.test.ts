import addon from '#addon'
import type { Graph } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import { buildGraph } from '../../lib/models/index.js'
import { Session } from '../../lib/runtime/session.js'
import { fnv1a, goldenSource, openGoldenOutputs, readGolden, relativeError, unit } from '../support/golden.js'

it('generates what the files were generated with', () => {
  expect(fnv1a('hf-deit-tiny/pixel_values')).toBe(1708246745)
  const expected = [-0.66370893, 0.5648706, 0.14353931, -0.14663589, -0.57634974, 0.54783928]
  expect([...unit('hf-deit-tiny/pixel_values', 6)]).toEqual(expected.map(Math.fround))
})

const paths = addon.paths().filter(({ runs }) => runs)

/** The stored outputs are the first 8 tokens of these edges. */
function edgeOf(graph: Graph, output: string): string {
  const last = graph.nodes.filter(({ name }) => /^layers\.\d+\.sum$/.test(name)).length
  if (output === 'logits') return graph.output
  const layer = output === 'features' ? last : Number(output.slice('hidden_states.'.length))
  return layer === 0 ? 'embeddings' : `layers.${layer - 1}.sum`
}

/** The final LayerNorm, which the graph computes for the tokens with a head only, in doubles. */
function normalise(graph: Graph, rows: Float32Array, eps: number): Float64Array {
  const gamma = graph.constants.get('norm.weight')?.data as Float32Array
  const beta = graph.constants.get('norm.bias')?.data as Float32Array
  const width = gamma.length
  const result = new Float64Array(rows.length)
  for (let start = 0; start < rows.length; start += width) {
    const row = Float64Array.from(rows.subarray(start, start + width))
    const mean = row.reduce((a, b) => a + b, 0) / width
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / width
    row.forEach((x, i) => {
      result[start + i] = ((x - mean) / Math.sqrt(variance + eps)) * gamma[i] + beta[i]
    })
  }
  return result
}

describe.each(['hf-deit-tiny', 'hf-deit-small-distilled', 'hf-vit-odd', 'timm-vit-small', 'timm-deit-tiny-distilled'])('%s', (name) => {
  const golden = readGolden(name)
  const [[inputName, inputShape]] = Object.entries(golden.inputs)
  const images = inputShape[0]
  let graph: Graph

  beforeAll(async () => {
    graph = await buildGraph({ config: golden.config, tensors: goldenSource(golden.tensors) })
  })

  it('keeps every parameter', () => {
    let parameters = 0
    for (const { data } of graph.constants.values()) parameters += data.length
    // Tokens and their positions are one sum; with two heads the last norm is there twice.
    const width = graph.edges.get('embeddings')?.width as number
    const prefix = graph.constants.get('embeddings.prefix')?.shape[0] as number
    const copies = graph.nodes.some((node) => node.name === 'distillation_norm') ? 2 : 0
    expect(parameters).toBe(golden.parameters + (copies - prefix) * width)
  })

  it.each(paths.map((path) => path.name))('on the path %s', async (path) => {
    const pixels = unit(
      inputName,
      inputShape.reduce((a, b) => a * b, 1),
    )
    const expected = await openGoldenOutputs(name)
    const outputs = Object.keys(golden.outputs)
    const edges = outputs.map((output) => edgeOf(graph, output))
    const { plan, outputs: places } = lower(graph, null, { outputs: edges })
    const session = new Session(plan, { path })
    const logitsOnly = new Session(lower(graph, null).plan, { path })
    try {
      const found = await session.run(pixels, images)
      const perImage = found.length / images
      let offset = 0
      for (const [i, output] of outputs.entries()) {
        const { rows, width } = places[i]
        const kept = Math.min(rows, 8) * width
        const cut = new Float32Array(images * kept)
        for (let b = 0; b < images; b++) cut.set(found.subarray(b * perImage + offset, b * perImage + offset + kept), b * kept)
        const { data } = await expected.tensor(output)
        const values = output === 'features' ? normalise(graph, cut, 1e-6) : cut
        expect(relativeError(values, data)).toBeLessThan(1e-5)
        offset += rows * width
      }
      const { data } = await expected.tensor('logits')
      expect(relativeError(await logitsOnly.run(pixels, images), data)).toBeLessThan(1e-5)
    } finally {
      session.dispose()
      logitsOnly.dispose()
      await expected.close()
    }
  })
})

describe.each(['hf-swin-tiny', 'timm-swin-tiny'])('%s', (name) => {
  const golden = readGolden(name)
  const [[inputName, inputShape]] = Object.entries(golden.inputs)
  const images = inputShape[0]
  /** Our edge for each output, and the rows of it that are stored: the first 8, or 2 x 2 of a map of 7 x 7. */
  const places: Record<string, { edge: string; rows: number[] }> = {
    logits: { edge: 'head', rows: [0] },
    'hidden_states.0': { edge: 'embeddings', rows: [0, 1, 2, 3, 4, 5, 6, 7] },
    'hidden_states.1': { edge: 'stages.1.merge.reduction', rows: [0, 1, 2, 3, 4, 5, 6, 7] },
    'hidden_states.4': { edge: 'stages.3.blocks.1.sum', rows: [0, 1, 2, 3, 4, 5, 6, 7] },
    features: { edge: 'norm', rows: [0, 1, 7, 8] },
  }
  let graph: Graph

  beforeAll(async () => {
    graph = await buildGraph({ config: golden.config, tensors: goldenSource(golden.tensors) })
  })

  it('keeps every parameter', () => {
    let parameters = 0
    for (const { data } of graph.constants.values()) parameters += data.length
    // 169 distances in windows of 7 x 7 become 49 x 49 pairs of tokens.
    const heads = graph.nodes.reduce((sum, node) => sum + (node.op === 'attention' ? node.heads : 0), 0)
    expect(parameters).toBe(golden.parameters + heads * (49 * 49 - 169))
  })

  it.each(paths.map((path) => path.name))('on the path %s', async (path) => {
    const pixels = unit(
      inputName,
      inputShape.reduce((a, b) => a * b, 1),
    )
    const expected = await openGoldenOutputs(name)
    const outputs = Object.keys(golden.outputs)
    const { plan, outputs: edges } = lower(graph, null, { outputs: outputs.map((output) => places[output].edge) })
    const session = new Session(plan, { path })
    try {
      const found = await session.run(pixels, images)
      let offset = 0
      for (const [i, output] of outputs.entries()) {
        const { rows, width } = edges[i]
        const kept = Array.from({ length: images }, (_, b) =>
          places[output].rows.flatMap((row) => {
            const start = (b * found.length) / images + offset + row * width
            return [...found.subarray(start, start + width)]
          }),
        ).flat()
        const { data } = await expected.tensor(output)
        expect(relativeError(kept, data)).toBeLessThan(1e-5)
        offset += rows * width
      }
    } finally {
      session.dispose()
      await expected.close()
    }
  })
})
