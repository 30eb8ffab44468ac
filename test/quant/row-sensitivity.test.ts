import { findOperands } from '../../lib/quant/operands.js'
import { measureRowSensitivity } from '../../lib/quant/row-sensitivity.js'
import { normals } from '../support/random.js'
import { type Matrix, runReference } from '../support/reference.js'
import { smallVit } from '../support/small-vit.js'

it.each([
  ['all images together', undefined],
  ['one after the other', 1],
])(
  'tells the rows that predictions mind: behind the last attention those of the two tokens with heads, in front of it all; %s',
  async (_, mostHeld) => {
    const graph = await smallVit()
    const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
    const images = 5
    const pixels = normals(4, images * rows * width)
    const logits = Float32Array.from(
      Array.from({ length: images }, (_, i) => i).flatMap((i) => [
        ...(runReference(graph, pixels.subarray(i * rows * width, (i + 1) * rows * width)).get(graph.output) as Matrix).data,
      ]),
    )
    const { activations } = findOperands(graph, 'partial')
    const found = await measureRowSensitivity(graph, activations, { pixels, images }, logits, {}, mostHeld)
    for (const { name, readers, elements, width } of activations) {
      const tokens = elements / width
      const weights = found.get(name)
      expect({ name, known: weights !== undefined }).toEqual({ name, known: readers.length > 0 && tokens > 1 })
      if (!weights) continue
      expect(weights.length).toBe(images * tokens)
      expect(weights.reduce((a, b) => a + b) / weights.length).toBeCloseTo(1, 4)
      expect(Math.min(...weights)).toBeGreaterThan(0.49)
    }
    const last = found.get('layers.1.mlp.gelu') as Float32Array
    const tokens = last.length / images
    last.forEach((weight, t) => {
      // Half of the mean is the share of all; the rest is that of two tokens.
      if (t % tokens > 1) expect(weight).toBeCloseTo(0.5, 5)
      else expect(weight).toBeGreaterThan(0.5)
    })
    const first = found.get('layers.0.mlp.gelu') as Float32Array
    expect(Math.min(...first)).toBeGreaterThan(0.5001)
  },
)
