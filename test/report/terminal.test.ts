import { describe, expect, test } from '@jest/globals'
import {
  bar,
  beside,
  drawImage,
  formatBytes,
  formatCount,
  formatInterval,
  formatMs,
  formatPercent,
  pairs,
  printable,
  table,
} from '../../lib/report/terminal.js'

const columns = [{ title: 'model' }, { title: 'ms', align: 'right' as const }]

describe('tables', () => {
  test('columns are as wide as their widest cell and nothing ends in spaces', () => {
    expect(
      table(columns, [
        ['float', '12.5'],
        ['W8A8 model', '3'],
      ]),
    ).toBe(['model         ms', '──────────  ────', 'float       12.5', 'W8A8 model     3'].join('\n'))
    expect(table([{ title: 'wide title' }, { title: 'b' }], [['a', '']])).toBe('wide title  b\n──────────  ─\na')
  })

  test('a table without rows is its head', () => {
    expect(table(columns, [])).toBe('model  ms\n─────  ──')
  })

  test('nothing in a cell reaches the terminal as a command', () => {
    const hostile = 'a\u001b[31m\r\nb\u009b2J\u007f\u202ec'
    const harmless = 'a\ufffd[31m\ufffd\ufffdb\ufffd2J\ufffd\ufffdc'
    expect(table([{ title: 'x' }], [[hostile]]).split('\n')).toEqual(['x', '─'.repeat(harmless.length), harmless])
    expect(pairs([['x', hostile]])).toBe(`x  ${harmless}`)
    expect(printable('größer, 鳥 🐦\u200d⬛')).toBe('größer, 鳥 🐦\u200d⬛')
  })

  test('pairs align their values', () => {
    expect(
      pairs([
        ['size', '1 B'],
        ['a long name', ''],
        ['x', 'y'],
      ]),
    ).toBe('size         1 B\na long name\nx            y')
  })
})

describe('bars', () => {
  test('have an eighth of a character as their smallest step', () => {
    expect(bar(8, 8, 4)).toBe('████')
    expect(bar(4, 8, 4)).toBe('██  ')
    expect(bar(1, 32, 4)).toBe('▏   ')
    expect(bar(4.5, 8, 2)).toBe('█▏')
    expect(bar(31, 32, 4)).toBe('███▉')
  })

  test('stay inside their width whatever they are given', () => {
    for (const value of [-1, 0, 9, 1e9, Number.NaN, Number.POSITIVE_INFINITY]) expect(bar(value, 8, 5)).toHaveLength(5)
    expect(bar(9, 8, 3)).toBe('███')
    expect(bar(1, 0, 3)).toBe('   ')
  })
})

describe('pictures', () => {
  test('two pixel rows make a line of half blocks', () => {
    const data = [0, 255, 0, 255, 0, 0, 255, 255]
    expect(drawImage({ data, width: 4, height: 2 })).toEqual([' ▀▄█'])
    expect(drawImage({ data, width: 4, height: 2 }, 256)).toEqual(['    '])
  })

  test('an odd height ends in a half line', () => {
    expect(drawImage({ data: [255, 255, 255], width: 1, height: 3 })).toEqual(['█', '▀'])
  })

  test('blocks stand side by side', () => {
    expect(beside([['ab', 'c'], ['d']], 1)).toBe('ab d\nc')
    expect(beside([['a'], ['b', 'c']], 2)).toBe('a  b\n   c')
    expect(beside([])).toBe('')
  })
})

describe('numbers', () => {
  test('bytes', () => {
    expect(formatBytes(0)).toBe('0 B')
    expect(formatBytes(1023)).toBe('1023 B')
    expect(formatBytes(1536)).toBe('1.50 KiB')
    expect(formatBytes(4811104)).toBe('4.59 MiB')
  })

  test('percent, intervals, milliseconds, counts', () => {
    expect(formatPercent(0.98054)).toBe('98.05 %')
    expect(formatInterval([0.9735, 0.98575])).toBe('97.35 .. 98.58 %')
    expect(formatMs(0.12345)).toBe('0.123 ms')
    expect(formatMs(123.4)).toBe('123 ms')
    expect(formatMs(Number.NaN)).toBe('-')
    expect(formatCount(5526346)).toBe('5,526,346')
  })
})
