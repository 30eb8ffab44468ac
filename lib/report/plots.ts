import type { MeasuredLayer, ReportPoint } from '../model/report.js'
import type { OperandReport } from '../quant/layers.js'
import type { Chart, Size } from './charts.js'
import { printable } from './terminal.js'

/** The plots of an HTML report. */

export interface Plot {
  chart: Chart
  size: Size
}

const COLORS = { weights: '#4269d0', activations: '#efb118', error: '#c44e52', before: '#222' }
const NARROWEST = 720
/** Pixels that the bars of a layer take. */
const LAYER = 14
const LABELS = 170

/** Axes whose categories are layers, with room for their names. */
function byLayer(layers: readonly { name: string }[], yAxis: Chart['yAxis']): { chart: Chart; size: Size } {
  return {
    chart: {
      grid: { left: 60, right: 20, top: 40, bottom: LABELS + 20 },
      xAxis: {
        type: 'category',
        data: layers.map(({ name }) => printable(name)),
        axisLabel: { rotate: 90, interval: 0, fontSize: 10, width: LABELS, overflow: 'truncate' },
      },
      yAxis,
    },
    size: { width: Math.max(NARROWEST, 80 + LAYER * layers.length), height: 300 + LABELS },
  }
}

/** Weight bits, and the mean over the other operands, of each layer that has some. */
export function bitsPlot(layers: readonly MeasuredLayer[]): Plot {
  const coded = layers.filter(({ operands }) => operands.length > 0)
  const mean = (wanted: (operand: OperandReport) => boolean) =>
    coded.map(({ operands }) => {
      const bits = operands.filter(wanted).map((operand) => operand.bits)
      return bits.length === 0 ? '-' : bits.reduce((a, b) => a + b, 0) / bits.length
    })
  const { chart, size } = byLayer(coded, { type: 'value', name: 'bits', min: 0, max: 8, interval: 1 })
  const bars = (name: string, color: string, wanted: (operand: OperandReport) => boolean) =>
    ({ type: 'bar', name, data: mean(wanted), itemStyle: { color } }) as const
  return {
    chart: {
      ...chart,
      legend: { top: 0 },
      series: [
        bars('weights', COLORS.weights, ({ kind }) => kind === 'weight'),
        bars('activations (mean)', COLORS.activations, ({ kind }) => kind !== 'weight'),
      ],
    },
    size,
  }
}

export function errorPlot(layers: readonly MeasuredLayer[]): Plot {
  const { chart, size } = byLayer(layers, { type: 'value', name: 'error, %', min: 0 })
  const data = layers.map(({ error }) => (Number.isFinite(error) ? 100 * error : '-'))
  return { chart: { ...chart, series: [{ type: 'bar', data, itemStyle: { color: COLORS.error } }] }, size }
}

/** Accuracy where every point has one, else divergence; null without points that have the same. */
export function sizePlot(points: readonly ReportPoint[]): Plot | null {
  const wanted = (['accuracy', 'divergence'] as const).find((key) => points.every((point) => Number.isFinite(point[key])))
  if (points.length === 0 || wanted === undefined) return null
  const series = {
    type: 'scatter',
    symbolSize: 10,
    itemStyle: { color: COLORS.weights },
    data: points.map((point) => ({
      name: printable(point.name),
      value: [point.bytes / 2 ** 20, (wanted === 'accuracy' ? 100 : 1) * (point[wanted] as number)],
    })),
    label: { show: true, position: 'right', formatter: ({ name }: { name: string }) => name },
  } as const
  return {
    chart: {
      grid: { left: 70, right: 120, top: 40, bottom: 50 },
      xAxis: { type: 'value', name: 'file, MiB', nameLocation: 'middle', nameGap: 30, min: 0 },
      yAxis: { type: 'value', name: wanted === 'accuracy' ? 'accuracy, %' : 'divergence, nats', scale: true },
      series: [series],
    },
    size: { width: NARROWEST, height: 360 },
  }
}

/** Fractions of the values in each bin, on a logarithmic axis, before rounding as a line and after it as bars. */
export function distributionPlot({ distribution: { low, high, before, after } }: OperandReport): Plot {
  const width = (high - low) / before.length
  // A logarithmic axis of ECharts has its bars hang from above, so the axis is one of powers of ten.
  const lowest = Math.floor(Math.log10(Math.min(...[...before, ...after].filter((y) => y > 0))))
  const data = (fractions: number[]) =>
    fractions.map((y, i): [number, number | string] => [low + (i + 0.5) * width, y > 0 ? Math.log10(y) - lowest : '-'])
  return {
    chart: {
      legend: { top: 0, right: 20 },
      grid: { left: 60, right: 20, top: 40, bottom: 40 },
      xAxis: {
        type: 'value',
        min: low,
        max: high > low ? high : low + 1,
        axisLabel: { formatter: (x: number) => `${Number(x.toPrecision(3))}` },
      },
      yAxis: {
        type: 'value',
        name: 'fraction',
        min: 0,
        max: -lowest,
        interval: 1,
        axisLabel: { formatter: (y: number) => `1e${y + lowest}` },
      },
      series: [
        { type: 'bar', name: 'after', data: data(after), barWidth: 2.5, itemStyle: { color: COLORS.weights } },
        {
          ...{ type: 'line', name: 'before', data: data(before), step: 'middle', symbol: 'none' },
          ...{ lineStyle: { color: COLORS.before, width: 1.5 }, itemStyle: { color: COLORS.before } },
        },
      ],
    },
    size: { width: 460, height: 240 },
  }
}
