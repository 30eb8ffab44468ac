import { EXTRAS } from '../quant/parts.js'

/** Text for a terminal: tables, bars and small pictures. Pure functions that return strings; nothing here writes. */

export interface Column {
  title: string
  /** Where cells stand in their column; 'left' when absent. */
  align?: 'left' | 'right'
}

/**
 * Text without control characters and marks of direction, with which a label could move the cursor, colour or reorder what others printed.
 */
export const printable = (text: string): string => text.replace(/[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')

/**
 * Cells in aligned columns, two spaces apart, a rule under the titles, everything {@link printable}. Every row must have one cell a column.
 */
export function table(columns: Column[], contents: string[][]): string {
  const rows = contents.map((row) => row.map(printable))
  const widths = columns.map((column, c) => Math.max(column.title.length, ...rows.map((row) => row[c].length)))
  const line = (cells: string[]) =>
    cells
      .map((cell, c) => (columns[c].align === 'right' ? cell.padStart(widths[c]) : cell.padEnd(widths[c])))
      .join('  ')
      .trimEnd()
  return [line(columns.map((column) => column.title)), widths.map((width) => '─'.repeat(width)).join('  '), ...rows.map(line)].join('\n')
}

/** `name  value` lines, the values aligned and {@link printable}. */
export function pairs(rows: [name: string, value: string][]): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}`.trimEnd()).join('\n')
}

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/** A bar of `value / max` of `width` characters, to an eighth of a character, padded to `width`. */
export function bar(value: number, max: number, width: number): string {
  const share = max > 0 && Number.isFinite(value) ? Math.min(1, Math.max(0, value / max)) : 0
  const eighths = Math.round(share * width * 8)
  return ('█'.repeat(eighths >> 3) + EIGHTHS[eighths & 7]).padEnd(width)
}

/** One channel of 8-bit pixels, row after row. */
export interface GreyImage {
  data: ArrayLike<number>
  width: number
  height: number
}

/** Two pixel rows a line of half blocks; a pixel is drawn when it is at least `threshold`. Every line is `width` characters. */
export function drawImage(image: GreyImage, threshold = 96): string[] {
  const { data, width, height } = image
  const lit = (row: number, column: number) => row < height && data[row * width + column] >= threshold
  return Array.from({ length: Math.ceil(height / 2) }, (_, line) =>
    Array.from({ length: width }, (_, column) => ' ▄▀█'[Number(lit(2 * line, column)) * 2 + Number(lit(2 * line + 1, column))]).join(''),
  )
}

/** Blocks of lines side by side, each block padded to its widest line. */
export function beside(blocks: string[][], gap = 2): string {
  const height = Math.max(0, ...blocks.map((block) => block.length))
  const widths = blocks.map((block) => Math.max(0, ...block.map((line) => line.length)))
  return Array.from({ length: height }, (_, row) =>
    blocks
      .map((block, b) => (block[row] ?? '').padEnd(widths[b]))
      .join(' '.repeat(gap))
      .trimEnd(),
  ).join('\n')
}

/** 1536 -> '1.50 KiB'. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let value = bytes
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(2)} ${units[unit]}`
}

/** 0.98054 -> '98.05 %'. */
export const formatPercent = (fraction: number, digits = 2): string => `${(fraction * 100).toFixed(digits)} %`

/** [0.9735, 0.9858] -> '97.35 .. 98.58 %'. */
export const formatInterval = ([low, high]: readonly [number, number]): string =>
  `${(low * 100).toFixed(2)} .. ${(high * 100).toFixed(2)} %`

/** Milliseconds with three significant digits; '-' for what was not measured. */
export function formatMs(ms: number): string {
  if (!Number.isFinite(ms)) return '-'
  return `${ms >= 100 ? ms.toFixed(0) : ms.toPrecision(3)} ms`
}

/** Seconds as people say them: 8 s, 1 min 20 s, 2 h 5 min. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(1, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return whole % 60 === 0 ? `${minutes} min` : `${minutes} min ${whole % 60} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** 5526346 -> '5,526,346'. */
export const formatCount = (count: number): string => count.toLocaleString('en-US')

/** 'log, relative, fine first row'. */
export function formatCode({ family, relative, fineFirst }: { family: string; relative: boolean; fineFirst: boolean }): string {
  return [family, ...(relative ? ['relative'] : []), ...(fineFirst ? ['fine first row'] : [])].join(', ')
}

/** A preset and where its parts differ from what they are by default: 'best, with norms, without bias'. */
export function formatPreset(preset: string, without: readonly string[]): string {
  const extras: readonly string[] = preset === 'best' ? EXTRAS : []
  const asked = extras.filter((part) => !without.includes(part))
  const missing = without.filter((part) => !extras.includes(part))
  return [preset, ...asked.map((part) => `with ${part}`), ...missing.map((part) => `without ${part}`)].join(', ')
}
