import { join } from 'node:path'
import { load, type Model, type OperandReport, type QuantizationReport, quantize, reportHtml } from '../../lib/index.js'
import { digits, writeFirstBlock } from '../support/digits.js'
import { temporaryFolder } from '../support/folder.js'

const folder = temporaryFolder()
let float: Model
let small: Model
let report: QuantizationReport
const stages: string[] = []

beforeAll(async () => {
  const checkpoint = join(folder.path, 'vit-digits')
  await writeFirstBlock(checkpoint)
  float = await load(checkpoint)
  small = await quantize(float, {
    ...{ calibrate: digits('train', 3), averageBits: 4 },
    onProgress: ({ stage }) => stages.push(stage),
    onReport: (made) => {
      report = made
    },
  })
})

afterAll(() => {
  float.dispose()
  small.dispose()
})

it('describes the model that comes back', () => {
  expect(report.info).toEqual(small.info())
  expect(report.floatBytes).toBe(float.info().bytes)
  expect(report.images).toBe(16)
  expect(report.divergence).toBeGreaterThan(0)
  expect(stages.at(-1)).toBe('report')
  const operands = report.layers.flatMap((layer) => layer.operands)
  for (const { name, bits, family } of report.info.operands)
    expect(operands).toContainEqual(expect.objectContaining({ name, bits, family }))
})

it('has the errors and the time of all layers', () => {
  const { layers } = report
  expect(layers[0].op).toBe('patchify')
  // Nothing in front of the patches errs: theirs is the rounding of their code.
  const { error, bits } = layers[1].operands.find(({ kind }) => kind === 'input') as OperandReport
  expect(layers[0].error).toBeCloseTo(error, 6)
  expect(error).toBeLessThan(2 ** -bits)
  for (const { name, op, error, decibels, milliseconds } of layers) {
    expect({ name, error: error > 0 && error < 1 }).toEqual({ name, error: true })
    expect(decibels).toBeGreaterThan(0)
    if (['patchify', 'linear', 'attention', 'layernorm'].includes(op)) expect(milliseconds).toBeGreaterThanOrEqual(0)
    if (['add', 'gelu'].includes(op)) expect(milliseconds).toBeNull()
  }
  const sum = layers.reduce((total, { milliseconds }) => total + (milliseconds ?? 0), 0)
  expect(sum).toBeCloseTo(report.msPerImage, 9)
  expect(sum).toBeGreaterThan(0)
})

it('compares with the float model as it was folded, so that eight bits are near it; what its reader throws is passed on', async () => {
  let eight: QuantizationReport | undefined
  const onReport = async (made: QuantizationReport) => {
    eight = made
    throw new Error('no disk')
  }
  const options = { calibrate: digits('train', 1), averageBits: 8, allocation: 'even' as const, coverage: 'partial' as const, onReport }
  await expect(quantize(float, options)).rejects.toThrow('no disk')
  expect(Math.max(...(eight as QuantizationReport).layers.map(({ error }) => error))).toBeLessThan(0.05)
})

it('is drawn', async () => {
  const html = await reportHtml(report)
  for (const { name } of report.layers) expect(html).toContain(`>${name}<`)
})
