import { load } from '../../lib/index.js'
import { DIGITS } from '../support/digits.js'

jest.mock('node:fs/promises', () => ({ ...jest.requireActual('node:fs/promises') }))
const fs = jest.requireMock<typeof import('node:fs/promises')>('node:fs/promises')

afterEach(() => jest.restoreAllMocks())

it.each([undefined, null, {}, [], 5, new Float32Array(4)])('refuses %s as a model', async (source) => {
  await expect(load(source as never)).rejects.toThrow(/^load takes a checkpoint's folder, a .fewbit file or the bytes of one, not /)
})

it('closes the file when it is aborted', async () => {
  const handles: { fd: number }[] = []
  const { open } = fs
  jest.spyOn(fs, 'open').mockImplementation(async (...args) => {
    const handle = await open(...args)
    handles.push(handle)
    return handle
  })
  let looks = 0
  const reason = new Error('enough')
  const throwIfAborted = () => {
    if (++looks > 1) throw reason
  }
  await expect(load(DIGITS, { signal: { throwIfAborted } as AbortSignal })).rejects.toBe(reason)
  expect(handles.map(({ fd }) => fd)).toEqual([-1])
})
