import { gradientGraph } from '../../lib/graph/gradient.js'
import type { Graph } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import { fisher, labelGradients, rowEnergies, signGradients } from '../../lib/quant/fisher.js'
import { observeGradients } from '../../lib/quant/gradients.js'
import { randomUniform } from '../../lib/random.js'
import { Session } from '../../lib/runtime/session.js'
import { relativeError } from '../support/golden.js'
import { normals, uniforms } from '../support/random.js'
import { smallVit } from '../support/small-vit.js'

const WIDTH = 6
const CLASSES = 4

/** Logits W x of images that are one row x. */
const weight = normals(5, CLASSES * WIDTH)
const linearSoftmax: Graph = {
  architecture: 'test',
  nodes: [{ name: 'logits', output: 'logits', op: 'linear', input: 'x', weight: 'w', bias: null }],
  edges: new Map([
    ['x', { rows: 1, width: WIDTH }],
    ['logits', { rows: 1, width: CLASSES }],
  ]),
  constants: new Map([['w', { shape: [CLASSES, WIDTH], data: weight }]]),
  input: 'x',
  output: 'logits',
}

/** The prediction for x. */
function softmax(x: Float32Array): number[] {
  const logits = Array.from({ length: CLASSES }, (_, k) => x.reduce((sum, value, i) => sum + value * weight[k * WIDTH + i], 0))
  const z = logits.reduce((sum, logit) => sum + Math.exp(logit), 0)
  return logits.map((logit) => Math.exp(logit) / z)
}

it.each([labelGradients, signGradients])('is the closed form for a linear layer behind softmax: %p', async (seeds) => {
  const images = 3
  const pixels = normals(8, images * WIDTH)
  // E over y of (p - onehot(y))_k^2 is p_k (1 - p_k); of (W^T (p - onehot(y)))_i^2 the variance of W_yi.
  const expected = { logits: new Float64Array(CLASSES), x: new Float64Array(WIDTH) }
  for (let image = 0; image < images; image++) {
    const p = softmax(pixels.subarray(image * WIDTH, (image + 1) * WIDTH))
    for (const [k, probability] of p.entries()) expected.logits[k] += (probability * (1 - probability)) / images
    for (let i = 0; i < WIDTH; i++) {
      const column = p.map((_, k) => weight[k * WIDTH + i])
      const mean = column.reduce((sum, w, k) => sum + p[k] * w, 0)
      expected.x[i] += column.reduce((sum, w, k) => sum + p[k] * (w - mean) ** 2, 0) / images
    }
  }
  const found = await fisher(linearSoftmax, { pixels, images }, ['logits', 'x'], { draws: 2000, seed: 3, seeds })
  // 6000 draws: a relative error of about 1 / sqrt(6000) times the spread of a squared gradient.
  expect(relativeError(found.get('logits')?.meanSquare ?? [], expected.logits)).toBeLessThan(0.05)
  expect(relativeError(found.get('x')?.meanSquare ?? [], expected.x)).toBeLessThan(0.05)
})

it('draws labels as often as the model predicts them', () => {
  const logits = Float32Array.of(0, 1, 2, -1)
  const sum = Math.exp(0) + Math.exp(1) + Math.exp(2) + Math.exp(-1)
  const draws = 20000
  const gradients = labelGradients(
    Float32Array.from({ length: draws * 4 }, (_, i) => logits[i % 4]),
    4,
    randomUniform(2),
  )
  for (let k = 0; k < 4; k++) {
    const p = Math.exp(logits[k]) / sum
    const drawn = Array.from({ length: draws }, (_, i) => gradients[4 * i + k]).filter((g) => g < 0)
    expect(Math.abs(drawn.length / draws - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / draws))
    expect(drawn[0]).toBeCloseTo(p - 1, 6)
  }
})

describe('of a small vision transformer', () => {
  const images = 9
  let graph: Graph
  let calibration: { pixels: Float32Array; images: number }
  beforeAll(async () => {
    graph = await smallVit()
    const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
    calibration = { pixels: normals(4, images * rows * width), images }
  })

  it('is positive at every edge, and depends on the seed alone', async () => {
    const edges = [...gradientGraph(graph).gradients.keys()]
    const found = await fisher(graph, calibration, edges, { seed: 1, threads: 1 })
    expect([...found.keys()]).toEqual(edges)
    for (const [edge, { meanSquare }] of found) {
      // Keys: what all of them share does not move a softmax, so their gradients may be small; they are not zero.
      if (!meanSquare.every((value) => value > 0)) throw new Error(`${edge} has columns without a gradient`)
    }
    expect(await fisher(graph, calibration, edges, { seed: 1, threads: 2 })).toEqual(found)
    expect(await fisher(graph, calibration, edges, { seed: 2 })).not.toEqual(found)
  })

  it('takes known logits for a run', async () => {
    const session = new Session(lower(graph, null).plan)
    const logits = await session.run(calibration.pixels, images)
    session.dispose()
    const edges = ['layers.0.norm1']
    expect(await fisher(graph, calibration, edges, { logits })).toEqual(await fisher(graph, calibration, edges))
  })

  it('samples the gradients of the rows that an observer of the edge samples', async () => {
    const edge = 'layers.0.mlp.fc1'
    const { rows, width } = graph.edges.get(edge) as { rows: number; width: number }
    const sampling = { sampleRows: 20, sampleStride: 3 }
    const draws = 2
    const { samples, meanSquare } = (
      await fisher(graph, calibration, [edge, 'layers.0.norm1'], { draws, seed: 5, samples: new Map([[edge, sampling]]) })
    ).get(edge) as { samples: Float32Array[]; meanSquare: Float64Array }
    expect(samples.length).toBe(draws)
    // All rows of all images, returned by a plan that observes nothing.
    const { graph: whole, gradients } = gradientGraph(graph)
    const random = randomUniform(5)
    const logits = await runAll(graph, [calibration.pixels])
    const squares = new Float64Array(width)
    for (let draw = 0; draw < draws; draw++) {
      const seeds = labelGradients(logits, logits.length / images, random)
      const all = await runAll(whole, [calibration.pixels, seeds], gradients.get(edge))
      all.forEach((g, i) => {
        squares[i % width] += g ** 2 / (draws * images * rows)
      })
      for (let s = 0; s < sampling.sampleRows; s++) {
        const row = s * sampling.sampleStride
        expect(samples[draw].subarray(s * width, (s + 1) * width)).toEqual(all.subarray(row * width, (row + 1) * width))
      }
    }
    expect(relativeError(meanSquare, squares)).toBeLessThan(1e-6)
    const row = (s: number) => samples.map((gradients) => gradients.subarray(s * width, (s + 1) * width))
    const energy = (s: number) =>
      row(s)
        .flatMap((part) => [...part])
        .reduce((sum, g) => sum + g ** 2 / draws, 0)
    expect(
      relativeError(
        rowEnergies({ meanSquare, samples }),
        Array.from({ length: sampling.sampleRows }, (_, s) => energy(s)),
      ),
    ).toBeLessThan(1e-6)
  })

  it('grows with the square of any seed gradient', async () => {
    const model = gradientGraph(graph)
    const seeds = uniforms(3, images * (graph.edges.get(graph.output)?.width as number))
    const edge = 'layers.1.attention.query'
    const once = await observeGradients(model, calibration, seeds, [edge], new Map())
    const doubled = await observeGradients(
      model,
      calibration,
      seeds.map((x) => 2 * x),
      [edge],
      new Map(),
    )
    const expected = once.get(edge)?.meanSquare.map((x) => 4 * x) as Float64Array
    expect(relativeError(doubled.get(edge)?.meanSquare ?? [], expected)).toBeLessThan(1e-9)
  })

  it('names an edge without a gradient', async () => {
    await expect(fisher(graph, calibration, ['pixels'])).rejects.toThrow('pixels: the logits do not depend on it')
    await expect(fisher(graph, calibration, ['norm'], { draws: 0 })).rejects.toThrow('draws must be a positive integer')
  })

  it('says how far it is and stops when it is told to', async () => {
    const seen: number[][] = []
    await fisher(graph, calibration, ['norm'], { draws: 2, onProgress: (...progress) => seen.push(progress) })
    expect(seen[seen.length - 1]).toEqual([2 * images, 2 * images])
    expect(seen.map(([done]) => done)).toEqual(seen.map(([done]) => done).sort((a, b) => a - b))
    const running = fisher(graph, calibration, ['norm'], { draws: 50, signal: AbortSignal.abort(new Error('enough')) })
    await expect(running).rejects.toThrow('enough')
  })

  /** The images of all inputs through a float plan; the logits or one edge. */
  async function runAll(whole: Graph, inputs: Float32Array[], output = whole.output): Promise<Float32Array> {
    const session = new Session(lower(whole, null, { outputs: [output] }).plan)
    const part = (input: Float32Array, i: number) => input.subarray((i * input.length) / images, ((i + 1) * input.length) / images)
    try {
      const joined = Array.from({ length: images }, (_, i) => inputs.flatMap((input) => [...part(input, i)])).flat()
      return await session.run(Float32Array.from(joined), images)
    } finally {
      session.dispose()
    }
  }
})
