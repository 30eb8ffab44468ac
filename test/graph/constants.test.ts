import { prepareWeights } from '../../lib/graph/constants.js'
import { lower } from '../../lib/graph/lower.js'
import * as blobs from '../../lib/runtime/blobs.js'
import { normals } from '../support/random.js'
import { simpleScheme } from '../support/random-scheme.js'
import { SMALL_SHAPE, smallVit } from '../support/small-vit.js'

jest.mock('../../lib/runtime/blobs.js', () => {
  const actual = jest.requireActual<typeof blobs>('../../lib/runtime/blobs.js')
  return { ...actual, createBlob: jest.fn(actual.createBlob), unpackWeight: jest.fn(actual.unpackWeight) }
})
beforeEach(() => {
  jest.clearAllMocks()
})

it.each(['float', 'quantized'])('once the weights of a %s model are prepared, only small constants are left to copy', async (kind) => {
  const graph = await smallVit()
  const pixels = normals(1, SMALL_SHAPE.channels * SMALL_SHAPE.imageHeight * SMALL_SHAPE.imageWidth)
  const scheme = kind === 'float' ? null : simpleScheme(graph, pixels)
  await prepareWeights(graph, scheme)
  jest.clearAllMocks()
  lower(graph, scheme)
  expect(blobs.createBlob).toHaveBeenCalledTimes(1)
  expect(blobs.unpackWeight).not.toHaveBeenCalled()
})

it('weights are prepared over many turns of the event loop, and no further when that is aborted', async () => {
  const graph = await smallVit()
  const aborted = new AbortController()
  setImmediate(() => setImmediate(() => setImmediate(() => aborted.abort())))
  await expect(prepareWeights(graph, null, aborted.signal)).rejects.toThrow('aborted')
  const made = jest.mocked(blobs.createBlob).mock.calls.length
  expect(made).toBeGreaterThan(0)
  expect(made).toBeLessThan(5)
})
