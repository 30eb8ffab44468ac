import { signSplitCode, twoScaleCode } from '../../lib/codes/code.js'
import type { Graph } from '../../lib/graph/graph.js'
import { lower } from '../../lib/graph/lower.js'
import type { Code, Scheme } from '../../lib/graph/scheme.js'
import { encodeTensor } from '../../lib/quant/published/weights.js'
import { unpackWeight } from '../../lib/runtime/blobs.js'
import { Session } from '../../lib/runtime/session.js'
import { nearestLevel } from '../support/coded-reference.js'
import { runningPaths } from '../support/paths.js'
import { normals } from '../support/random.js'

const [INPUTS, OUTPUTS] = [70, 19]
const image = normals(1, INPUTS)
const weight = { shape: [OUTPUTS, INPUTS], data: normals(2, OUTPUTS * INPUTS) }
const weightCode = encodeTensor(weight, 0.25, 5)
const levels = unpackWeight(weightCode.packed, OUTPUTS, INPUTS, 5)

const graph: Graph = {
  architecture: 'product',
  nodes: [
    {
      name: 'patches',
      output: 'x',
      op: 'patchify',
      input: 'image',
      channels: 1,
      height: 1,
      width: INPUTS,
      patchHeight: 1,
      patchWidth: INPUTS,
    },
    { name: 'product', output: 'y', op: 'linear', input: 'x', weight: 'w', bias: null },
  ],
  edges: new Map([
    ['image', { rows: 1, width: INPUTS }],
    ['x', { rows: 1, width: INPUTS }],
    ['y', { rows: 1, width: OUTPUTS }],
  ]),
  constants: new Map([['w', weight]]),
  input: 'image',
  output: 'y',
}

/** Flag and payload of each value, as the paper encodes it. */
type Encode = (level: number) => { coarse: boolean; payload: number }
const byMagnitude =
  (fine: number, m: number): Encode =>
  (level) =>
    level < fine ? { coarse: false, payload: level } : { coarse: true, payload: level / 2 ** m }
const bySign =
  (m: number): Encode =>
  (level) =>
    level < 0 ? { coarse: false, payload: level } : { coarse: true, payload: level / 2 ** m }

const cases: [string, Code, Encode, number][] = [
  ['unsigned', twoScaleCode(4, 0.11, 3, false), byMagnitude(8, 3), 3],
  ['split by magnitude', twoScaleCode(4, 0.11, 2, true), byMagnitude(4, 2), 2],
  ['split by sign', signSplitCode(4, 0.11, 3), bySign(3), 3],
]

describe.each(cases)('two scales, %s', (_, code, encode, m) => {
  const codes = Array.from(image, (x) => encode(nearestLevel(code, x)))
  /** Two products of integers, each masked; the second is shifted. */
  const masked = Array.from({ length: OUTPUTS }, (_, o) => {
    const sum = (coarse: boolean) =>
      codes.reduce((total, c, i) => total + (c.coarse === coarse ? c.payload * levels[o * INPUTS + i] : 0), 0)
    return sum(false) + sum(true) * 2 ** m
  })

  it('both regions are met, payloads are integers that fit', () => {
    expect(new Set(codes.map(({ coarse }) => coarse)).size).toBe(2)
    for (const { payload } of codes) expect(Number.isInteger(payload) && payload >= -8 && payload <= 7).toBe(true)
  })

  it('the masked products are the product of decoded values', () => {
    masked.forEach((sum, o) => {
      let decoded = 0
      image.forEach((x, i) => {
        decoded += nearestLevel(code, x) * code.step * levels[o * INPUTS + i] * 0.25
      })
      expect(sum * code.step * 0.25).toBeCloseTo(decoded, 9)
    })
  })

  it.each(runningPaths)('and one product of bytes on %s', async (path) => {
    const scheme: Scheme = { coverage: 'partial', weights: new Map([['w', weightCode]]), edges: new Map([['x', code]]) }
    const session = new Session(lower(graph, scheme).plan, { path })
    try {
      const scale = Math.fround(code.step * 0.25)
      expect([...(await session.run(image, 1))]).toEqual(masked.map((sum) => Math.fround(sum * scale)))
    } finally {
      session.dispose()
    }
  })
})
