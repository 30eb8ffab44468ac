import type { MeasuredLayer, QuantizationReport } from '../../lib/model/report.js'
import type { OperandReport } from '../../lib/quant/layers.js'
import { BINS } from '../../lib/quant/rounding.js'
import { escapeHtml, reportHtml } from '../../lib/report/html.js'

const HOSTILE = `<img src=x onerror=alert(1)>"'&amp;\u001b[2J\u202e`

function operand(overrides: Partial<OperandReport> = {}): OperandReport {
  const bins = Array.from({ length: BINS }, (_, i) => (i % 2) / (BINS / 2))
  return {
    ...{ kind: 'input', name: 'x', bits: 4, family: 'uniform', relative: false, fineFirst: false, clipped: 0.25, error: 0.125 },
    distribution: { low: -1, high: 1, before: bins, after: bins },
    ...overrides,
  }
}

const layer = (overrides: Partial<MeasuredLayer> = {}): MeasuredLayer => ({
  ...{ name: 'layer', op: 'linear', error: 0.1, decibels: 20, milliseconds: 1.5 },
  operands: [operand({ kind: 'weight', bits: 3 }), operand()],
  ...overrides,
})

const report = (layers: MeasuredLayer[]): QuantizationReport => ({
  info: {
    ...{
      architecture: 'vit',
      quantized: true,
      coverage: 'partial',
      preset: 'best',
      without: ['repq', 'bias', 'norms'],
      labels: 10,
      parameters: 1234567,
      macs: 1e6,
    },
    ...{ input: { channels: 3, height: 32, width: 16 }, weightBits: 3.5, activationBits: 4.25, bytes: 2 ** 20, operands: [] },
  },
  ...{ floatBytes: 8 * 2 ** 20, divergence: 0.0123, msPerImage: 1.5, images: 16, layers },
  points: [
    { name: 'float', bytes: 8 * 2 ** 20, divergence: 0 },
    { name: 'quantized', bytes: 2 ** 20, divergence: 0.0123 },
  ],
})

/** Every tag is closed in order, quotes are closed, and no text holds a bare < or &. */
function expectWellFormed(html: string): void {
  expect(html.startsWith('<!DOCTYPE html>\n<html lang="en">')).toBe(true)
  const open: string[] = []
  const rest = html
    .replace('<!DOCTYPE html>', '')
    .replace(/<!\[CDATA\[[\s\S]*?\]\]>/g, '')
    .replace(/(<(style|script)\b[^>]*>)[\s\S]*?(<\/\2>)/g, '$1$3')
    .replace(/<(\/?)([a-zA-Z][\w]*)((?:\s+[\w:-]+="[^"<>]*")*)\s*(\/?)>/g, (_, closing, name, _attributes, empty) => {
      if (closing) expect(name).toBe(open.pop())
      else if (!empty && name !== 'meta') open.push(name)
      return ''
    })
  expect(open).toEqual([])
  expect(rest).not.toMatch(/[<>]|&(?!(amp|lt|gt|quot|#39);)/)
}

it('is one well-formed file that loads nothing', async () => {
  const html = await reportHtml(report([layer(), layer({ name: 'sum', op: 'add', operands: [], milliseconds: null })]))
  expectWellFormed(html)
  expect(html).not.toMatch(/<(link|img|iframe|object|embed|use|image)\b|\bsrc=|href=|url\((?!#)|@import|fetch\(|import\(/)
  expect(html.match(/<script>/g)).toHaveLength(1)
  expect(html).toContain('3.50 / 4.25 bits')
  expect(html).toContain('1.00 MiB (float: 8.00 MiB, 8.00 times as much)')
  expect(html).toContain('0.0123 nats')
  expect(html).toContain('<td>best, without bias</td>')
  for (const cell of ['10.00 %', '20.0 dB', '1.50 ms', '<div>weight</div><div>input</div>', '<div>3</div><div>4</div>', '25.00 %']) {
    expect(html).toContain(cell)
  }
})

it('shows names as text', async () => {
  const hostile = layer({ name: HOSTILE, operands: [operand({ name: HOSTILE })] })
  const html = await reportHtml(report([hostile]), { title: HOSTILE, points: [{ name: HOSTILE, bytes: 1, accuracy: 0.5 }] })
  expectWellFormed(html)
  expect(html).not.toContain('<img')
  for (const character of ['\u001b', '\u202e']) expect(html).not.toContain(character)
  expect(html).toContain(`<title>${escapeHtml(HOSTILE)}</title>`)
  expect(escapeHtml(HOSTILE)).toBe('&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;amp;\ufffd[2J\ufffd')
})

it('compares the models that it is given by what all of them have', async () => {
  const points = [
    { name: 'float', bytes: 4e6, accuracy: 0.9 },
    { name: 'small', bytes: 1e6, accuracy: 0.88 },
  ]
  expect(await reportHtml(report([layer()]), { points })).toMatch(/Accuracy against size[\s\S]*>small</)
  expect(await reportHtml(report([layer()]))).toMatch(/Divergence against size[\s\S]*>quantized</)
  const mixed = [points[0], { name: 'small', bytes: 1e6, divergence: 0.1 }]
  expect(await reportHtml(report([layer()]), { points: mixed })).not.toContain('against size')
  expect(await reportHtml(report([layer()]), { points: [] })).not.toContain('against size')
})

it('draws the values of the eight layers with the largest errors', async () => {
  const layers = Array.from({ length: 12 }, (_, i) => layer({ name: `layer${i}`, error: i / 100 }))
  const html = await reportHtml(report([...layers, layer({ name: 'bare', error: 1, operands: [] })]))
  const captions = [...html.matchAll(/<figcaption>(\w+):/g)].map(([, name]) => name)
  expect(captions).toEqual([11, 10, 9, 8, 7, 6, 5, 4].map((i) => `layer${i}`))
})

it('has room for numbers that are none', async () => {
  const constant = operand({
    distribution: { low: 0, high: 0, before: [1, ...Array(BINS - 1).fill(0)], after: [1, ...Array(BINS - 1).fill(0)] },
  })
  const layers = [
    layer({ error: 0, decibels: Number.POSITIVE_INFINITY, operands: [constant] }),
    layer({
      error: Number.POSITIVE_INFINITY,
      decibels: Number.NEGATIVE_INFINITY,
      operands: [operand({ error: Number.POSITIVE_INFINITY })],
    }),
  ]
  const html = await reportHtml(report(layers))
  expectWellFormed(html)
  expect(html).not.toMatch(/\bNaN\b|undefined|Infinity/)
})

it('says which package is missing and how to get it', async () => {
  await jest.isolateModulesAsync(async () => {
    jest.doMock('echarts', () => {
      throw new Error("Cannot find package 'echarts'\nImported from somewhere")
    })
    const { reportHtml: bare } = await import('../../lib/report/html.js')
    await expect(bare(report([layer()]))).rejects.toThrow(
      "a report's plots need the package echarts, which did not load (Cannot find package 'echarts'). Run 'npm install echarts@6'",
    )
    jest.dontMock('echarts')
  })
})
