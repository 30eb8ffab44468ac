import { setImmediate as nextTurn } from 'node:timers/promises'
import type { MeasuredLayer, QuantizationReport, ReportPoint } from '../model/report.js'
import type { OperandReport } from '../quant/layers.js'
import { checkOptionsOf } from '../values.js'
import { loadCharts } from './charts.js'
import { bitsPlot, distributionPlot, errorPlot, type Plot, sizePlot } from './plots.js'
import { formatBytes, formatCode, formatCount, formatMs, formatPercent, formatPreset, printable } from './terminal.js'

/**
 * A report as one HTML file that needs nothing else: plots are drawn when it is made, and the only script sorts the table.
 */

export interface ReportOptions {
  /** Default: the architecture. */
  title?: string
  /** Models to compare by size: all with an accuracy, or all with a divergence. Default: those of the report. */
  points?: readonly ReportPoint[]
}

/** Layers whose values are drawn. */
const WORST = 8

/** See model/on-demand.ts. */
export async function reportHtml(report: QuantizationReport, options: ReportOptions = {}): Promise<string> {
  checkOptionsOf('reportHtml', options, { title: true, points: true })
  const render = await loadCharts()
  const draw = async ({ chart, size }: Plot): Promise<string> => {
    await nextTurn()
    return `<div class="plot">${render(chart, size)}</div>`
  }
  const { info, layers, images } = report
  const title = options.title ?? `${info.architecture}, ${info.weightBits.toFixed(2)} / ${info.activationBits.toFixed(2)} bits`
  const points = options.points ?? report.points
  const size = sizePlot(points)
  const figures: string[] = []
  for (const worst of worstLayers(layers)) figures.push(await figure(worst, draw))
  const parts = [
    section('Summary', summary(report)),
    size &&
      section(
        points.some(({ accuracy }) => accuracy === undefined) ? 'Divergence against size' : 'Accuracy against size',
        await draw(size),
      ),
    section('Bits by layer', await draw(bitsPlot(layers))),
    section(
      'Error by layer',
      `<p>${ERROR_NOTE} Measured on ${formatCount(images)} calibration images.</p>${await draw(errorPlot(layers))}`,
    ),
    section('Values before and after rounding', figures.join('\n')),
    section('Layers', `<p>${TABLE_NOTE}</p>${layerTable(layers)}`),
  ]
  return document(title, parts.filter((part) => part !== null).join('\n'))
}

const ERROR_NOTE =
  'Root mean square of the difference between what a layer gives in the quantized model and in the float model, over that of the float model: ' +
  'with the errors of all layers before it.'
const TABLE_NOTE =
  'Clipped: the fraction of values beyond the outermost levels. Rounding: the error that rounding alone adds to an operand. ' +
  'A layer without a time is computed in the kernel of the one before it. Click on a title to sort.'

export function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
  return printable(text).replace(/[&<>"']/g, (character) => entities[character])
}

/** Layers with operands, the largest error first, each with the operand that rounding changes most. */
function worstLayers(layers: readonly MeasuredLayer[]): { layer: MeasuredLayer; operand: OperandReport }[] {
  return layers
    .flatMap((layer) => {
      const [operand] = [...layer.operands].sort((a, b) => b.error - a.error)
      return operand ? [{ layer, operand }] : []
    })
    .sort((a, b) => b.layer.error - a.layer.error)
    .slice(0, WORST)
}

const section = (title: string, body: string): string => `<section>\n<h2>${escapeHtml(title)}</h2>\n${body}\n</section>`

function summary({ info, floatBytes, divergence, msPerImage }: QuantizationReport): string {
  const rows: [string, string][] = [
    ['architecture', info.architecture],
    ['input', `${info.input.channels} x ${info.input.height} x ${info.input.width}`],
    ['parameters', formatCount(info.parameters)],
    ['size', `${formatBytes(info.bytes)} (float: ${formatBytes(floatBytes)}, ${(floatBytes / info.bytes).toFixed(2)} times as much)`],
    ['bits on average', `weights ${info.weightBits.toFixed(2)}, activations ${info.activationBits.toFixed(2)}`],
    ...(info.preset === null ? [] : [['preset', formatPreset(info.preset, info.without)] as [string, string]]),
    ['coverage', String(info.coverage)],
    ['divergence to the float model', `${divergence.toPrecision(3)} nats (calibration images)`],
    ['time', `${formatMs(msPerImage)} an image`],
  ]
  return `<table class="summary">${rows.map(([name, value]) => `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`).join('')}</table>`
}

async function figure(
  { layer, operand }: { layer: MeasuredLayer; operand: OperandReport },
  draw: (plot: Plot) => Promise<string>,
): Promise<string> {
  const { kind, bits, clipped } = operand
  const caption = `${layer.name}: ${kind}, ${bits} bits, ${formatCode(operand)}, ${formatPercent(clipped)} clipped`
  return `<figure>${await draw(distributionPlot(operand))}<figcaption>${escapeHtml(caption)}</figcaption></figure>`
}

/** A column of the table: what is shown, and what it is sorted by. */
interface Column {
  title: string
  cell(layer: MeasuredLayer, index: number): { html: string; key: string | number }
}

const text = (value: string) => ({ html: escapeHtml(value), key: value })
/** An infinity as a number that sorts like it. */
const finite = (value: number): number => Math.min(Math.max(value, -1e300), 1e300)
const number = (value: number, html: string) => ({ html: escapeHtml(html), key: finite(value) })

/** A line for each operand, sorted by one number of all. */
function operandColumn(
  title: string,
  show: (operand: OperandReport) => string,
  key: (operands: OperandReport[]) => string | number,
): Column {
  return {
    title,
    cell: ({ operands }) => ({ html: operands.map((operand) => `<div>${escapeHtml(show(operand))}</div>`).join(''), key: key(operands) }),
  }
}

const most = (operands: OperandReport[], value: (operand: OperandReport) => number): number => finite(Math.max(0, ...operands.map(value)))

const COLUMNS: Column[] = [
  { title: '#', cell: (_, index) => number(index, String(index + 1)) },
  { title: 'layer', cell: ({ name }) => text(name) },
  { title: 'operation', cell: ({ op }) => text(op) },
  { title: 'error', cell: ({ error }) => number(error, percent(error)) },
  { title: 'SNR', cell: ({ decibels }) => number(decibels, Number.isFinite(decibels) ? `${decibels.toFixed(1)} dB` : '') },
  { title: 'time', cell: ({ milliseconds }) => number(milliseconds ?? -1, milliseconds === null ? '' : formatMs(milliseconds)) },
  operandColumn(
    'operand',
    ({ kind }) => kind,
    (operands) => operands.length,
  ),
  operandColumn(
    'bits',
    ({ bits }) => String(bits),
    (operands) => -most(operands, ({ bits }) => 8 - bits),
  ),
  operandColumn('code', formatCode, (operands) => operands.map(({ family }) => family).join(' ')),
  operandColumn(
    'clipped',
    ({ clipped }) => formatPercent(clipped),
    (operands) => most(operands, ({ clipped }) => clipped),
  ),
  operandColumn(
    'rounding',
    ({ error }) => percent(error),
    (operands) => most(operands, ({ error }) => error),
  ),
]

const percent = (fraction: number): string => (Number.isFinite(fraction) ? formatPercent(fraction) : '∞')

function layerTable(layers: readonly MeasuredLayer[]): string {
  const head = COLUMNS.map(({ title }) => `<th>${escapeHtml(title)}</th>`).join('')
  const rows = layers.map((layer, i) => {
    const cells = COLUMNS.map(({ cell }) => cell(layer, i)).map(({ html, key }) => `<td data-key="${escapeHtml(String(key))}">${html}</td>`)
    return `<tr>${cells.join('')}</tr>`
  })
  return `<table class="layers"><thead><tr>${head}</tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table>`
}

function document(title: string, body: string): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
${body}
<script>${SORT}</script>
</body>
</html>
`
}

const STYLE = `
body { font: 14px/1.4 sans-serif; color: #222; margin: 2em auto; padding: 0 1em; max-width: 1200px; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
.plot { overflow-x: auto; }
figure { display: inline-block; margin: 0 1em 1em 0; } figcaption { max-width: 460px; overflow-wrap: anywhere; }
table { border-collapse: collapse; } th { text-align: left; font-weight: 600; }
th, td { padding: 2px 10px 2px 0; vertical-align: top; }
.layers { font-size: 12px; } .layers th { cursor: pointer; position: sticky; top: 0; background: #fff; }
.layers tr { border-bottom: 1px solid #e4e4e4; } .layers td { font-variant-numeric: tabular-nums; }
`

/** A click on a title sorts by its column, another one the other way round. */
const SORT = `
for (const head of document.querySelectorAll('.layers th')) head.onclick = () => {
  const rows = head.closest('table').tBodies[0]
  const sign = (head.dataset.sign = head.dataset.sign === '1' ? '-1' : '1')
  const key = (row) => row.cells[head.cellIndex].dataset.key
  const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b)
  rows.append(...[...rows.rows].sort((a, b) => sign * compare(key(a), key(b))))
}
`
