import type { Graph } from '../../lib/graph/graph.js'
import { type PublicWidths, type QuantizerOptions, quantizerOf } from '../../lib/quant/quantizer.js'
import type { Progress } from '../../lib/quant/search.js'
import { normals } from '../support/random.js'
import { smallVit } from '../support/small-vit.js'

const W4A4 = { weightBits: 4, activationBits: 4 }

let graph: Graph
beforeAll(async () => {
  graph = await smallVit({ layers: 1 })
})

/** What is heard of each stage, in order. */
async function heard(
  widths: PublicWidths,
  { images = 8, seed = 1, ...options }: Partial<QuantizerOptions> & { images?: number; seed?: number },
) {
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const calibration = { pixels: normals(seed, images * rows * width), images }
  const stages = new Map<Progress['stage'], { done: number; total: number }[]>()
  const onProgress = ({ stage, ...event }: Progress) => void stages.set(stage, [...(stages.get(stage) ?? []), event])
  await quantizerOf(graph, calibration, { preset: 'best', coverage: 'full', ...options, onProgress })(widths)
  return stages
}

function expectComplete(stages: Map<string, { done: number; total: number }[]>): void {
  for (const [stage, events] of stages) {
    const done = events.map((event) => event.done)
    expect([stage, done]).toEqual([stage, [...done].sort((a, b) => a - b)])
    expect([stage, new Set(events.map(({ total }) => total)).size]).toEqual([stage, 1])
    expect([stage, events.at(-1)?.done]).toEqual([stage, events[0].total])
  }
}

it.each<[string, PublicWidths, Parameters<typeof heard>[1]]>([
  ['an average', { averageBits: 4.5 }, {}],
  ['an average by size alone', { averageBits: 4.5 }, { without: ['allocation'] }],
  ['widths that are given', W4A4, { coverage: 'partial' }],
  ['no sequence', W4A4, { without: ['sequence'] }],
  ['too few images to leave some out of the sequence', W4A4, { images: 3 }],
  ['mptq', { averageBits: 5.5 }, { preset: 'mptq', coverage: 'partial' }],
  ['minmax', W4A4, { preset: 'minmax' }],
])('every stage rises to its end: %s', async (_, widths, options) => {
  const stages = await heard(widths, options)
  expect([...stages.keys()]).toEqual(expect.arrayContaining(['observe', 'smooth', 'quantize']))
  expectComplete(stages)
})

it('whether codes in sequence are kept or not, the rest of a stage is passed over at once when they are not', async () => {
  const kept = new Set<boolean>()
  for (let seed = 1; seed <= 8 && kept.size < 2; seed++) {
    const stages = await heard(W4A4, { seed })
    expectComplete(stages)
    const events = stages.get('quantize') as { done: number }[]
    // Images of which rows are measured are told together, all eight of them; there are more nodes.
    kept.add(events.every(({ done }, i) => done - (events[i - 1]?.done ?? 0) <= 8))
  }
  expect(kept).toEqual(new Set([true, false]))
})
