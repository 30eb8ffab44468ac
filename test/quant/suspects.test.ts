import type { Graph } from '../../lib/graph/graph.js'
import { constantActivations, zeroRows } from '../../lib/quant/suspects.js'
import { normals } from '../support/random.js'
import { SMALL_SHAPE, smallVit } from '../support/small-vit.js'

const IMAGES = 6
const { channels, imageHeight, imageWidth } = SMALL_SHAPE
const size = channels * imageHeight * imageWidth
const calibration = { pixels: normals(1, IMAGES * size), images: IMAGES }

/** The model with some of its constants changed in place. */
async function changed(change: (data: (name: string) => Float32Array) => void): Promise<Graph> {
  const graph = await smallVit()
  change((name) => graph.constants.get(name)?.data as Float32Array)
  return graph
}

it('finds nothing in a model of random weights', async () => {
  const graph = await smallVit()
  expect(await constantActivations(graph, 'full', calibration, {})).toEqual([])
  expect(await zeroRows(graph)).toEqual([])
})

it('names edges of one value, and tells zeros apart', async () => {
  const dead = await changed((data) => {
    data('layers.0.norm2.weight').fill(0)
    data('layers.0.norm2.bias').fill(0)
    data('layers.1.attention.query.weight').fill(0)
    data('layers.1.attention.query.bias').forEach((_, i, bias) => (bias[i] = i))
  })
  const found = await constantActivations(dead, 'partial', calibration, {})
  expect(found).toContainEqual({ name: 'layers.0.norm2', zero: true })
  expect(found).toContainEqual({ name: 'layers.1.attention.query', zero: false })
  expect(found.map(({ name }) => name)).not.toContain('layers.1.attention.key')
})

it('looks at all images before it calls an edge constant', async () => {
  const pixels = calibration.pixels.slice().fill(0, 0, (IMAGES - 1) * size)
  expect(await constantActivations(await smallVit(), 'partial', { pixels, images: IMAGES }, {})).toEqual([])
  const blank = await constantActivations(await smallVit(), 'partial', { pixels: pixels.fill(0), images: IMAGES }, {})
  expect(blank.map(({ name }) => name)).toContain('patches')
})

it('counts rows of zeros by layer', async () => {
  const graph = await changed((data) => {
    data('layers.1.mlp.fc1.weight').fill(0, 0, 2 * SMALL_SHAPE.hidden)
    data('layers.1.mlp.fc2.weight').fill(0, 0, SMALL_SHAPE.intermediate - 1)
  })
  expect(await zeroRows(graph)).toEqual([{ layer: 'layers.1.mlp.fc1', weight: 'layers.1.mlp.fc1.weight', rows: 2, outputs: 70 }])
})
