import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { lower } from '../../lib/graph/lower.js'
import { noiseImages } from '../../lib/images/noise.js'
import { load, quantize, randomModel } from '../../lib/index.js'
import { DIGITS } from '../support/digits.js'
import { temporaryFolder } from '../support/folder.js'

jest.mock('node:fs/promises', () => ({ ...jest.requireActual('node:fs/promises') }))
const fs = jest.requireMock<typeof import('node:fs/promises')>('node:fs/promises')

const folder = temporaryFolder()

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
  await expect(load(DIGITS, { signal: Object.assign(new AbortController().signal, { throwIfAborted }) })).rejects.toBe(reason)
  expect(handles.map(({ fd }) => fd)).toEqual([-1])
})

it('a loaded container takes little more memory than its file and its arena', async () => {
  const float = await randomModel('deit-small')
  const calibrate = noiseImages(float.input, 1, 0)
  const model = await quantize(float, { calibrate, bits: 8, preset: 'minmax' })
  const file = join(folder.path, 'deit-small.fewbit')
  const { bytes } = await model.save(file)
  const { arenaBytes } = lower(model.parts.graph, model.parts.scheme).plan
  for (const each of [float, model]) each.dispose()
  const program = join(__dirname, '../runtime/programs/resident.cjs')
  const { status, stdout } = spawnSync(process.execPath, ['--expose-gc', program, file], { encoding: 'utf8' })
  expect(status).toBe(0)
  expect(Number(stdout)).toBeLessThan(bytes + 1.2 * arenaBytes + 10 * 2 ** 20)
})
