import { Writable } from 'node:stream'
import { describe, expect, test } from '@jest/globals'
import { type Terminal, withProgress } from '../../lib/cli/terminal.js'

function terminal(isTTY: boolean): { terminal: Terminal; written: () => string } {
  const parts: string[] = []
  const stderr = new Writable({
    write(chunk, _encoding, done) {
      parts.push(String(chunk))
      done()
    },
  })
  Object.assign(stderr, { isTTY, columns: 100 })
  const stdout = { write: () => expect('stdout').toBe('untouched') }
  return { terminal: { stdout, stderr, signal: new AbortController().signal, version: '' }, written: () => parts.join('') }
}

const work = async (onProgress: (event: { stage?: string; done: number; total: number }) => void) => {
  onProgress({ done: 0, total: 2 })
  onProgress({ done: 1, total: 2 })
  onProgress({ stage: 'search', done: 0, total: 5 })
  onProgress({ stage: 'search', done: 5, total: 5 })
  return 'result'
}

describe('progress', () => {
  test('away from a terminal it is one line a stage', async () => {
    const { terminal: t, written } = terminal(false)
    expect(await withProgress(t, 'observe', false, work)).toBe('result')
    expect(written()).toBe('observe ...\nsearch ...\n')
  })

  test('on a terminal it is a bar that shows the cursor again, also after a failure', async () => {
    const { terminal: t, written } = terminal(true)
    const failing = withProgress(t, 'observe', false, async (onProgress) => {
      await work(onProgress)
      throw new Error('no luck')
    })
    await expect(failing).rejects.toThrow('no luck')
    expect(written()).toContain('search')
    const [hidden, shown] = [written().lastIndexOf('\u001b[?25l'), written().lastIndexOf('\u001b[?25h')]
    expect(hidden).toBeGreaterThan(-1)
    expect(shown).toBeGreaterThan(hidden)
  })

  test('notes are lines of their own, on a terminal with the bar away', async () => {
    const noting = async (onProgress: Parameters<typeof work>[0], note: (text: string) => void) => {
      onProgress({ done: 0, total: 2 })
      note('warning: few images')
      onProgress({ done: 1, total: 2 })
    }
    const [plain, tty] = [terminal(false), terminal(true)]
    await withProgress(plain.terminal, 'observe', false, noting)
    expect(plain.written()).toBe('observe ...\nwarning: few images\n')
    await withProgress(tty.terminal, 'observe', false, noting)
    expect(tty.written()).toContain('warning: few images\n')
    const before = tty.written().slice(0, tty.written().indexOf('warning'))
    expect(before.lastIndexOf('\u001b[?25h')).toBeGreaterThan(before.lastIndexOf('\u001b[?25l'))
  })

  test('is none but notes when JSON is wanted', async () => {
    const { terminal: t, written } = terminal(true)
    await withProgress(t, 'observe', true, async (onProgress, note) => {
      note('a minute')
      await work(onProgress)
    })
    expect(written()).toBe('a minute\n')
  })
})
