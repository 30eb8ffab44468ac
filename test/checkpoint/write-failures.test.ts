import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeSafetensors } from '../../lib/checkpoint/safetensors-write.js'
import { temporaryFolder } from '../support/folder.js'

jest.mock('node:fs/promises', () => ({ ...jest.requireActual('node:fs/promises') }))
const fs = jest.requireMock<typeof import('node:fs/promises')>('node:fs/promises')

const folder = temporaryFolder()
const tensor = { name: 'w', dtype: 'F32' as const, shape: [1000], data: new Float32Array(1000) }
const failure = (code: string) => Object.assign(new Error(`${code}: it failed`), { code })

/** Files whose handles fail at one call. */
function breakHandles(method: 'write' | 'sync', error: Error): void {
  const { open } = fs
  jest.spyOn(fs, 'open').mockImplementation(async (...args) => {
    const handle = await open(...args)
    handle[method] = () => Promise.reject(error)
    return handle
  })
}

beforeEach(() => writeFile(join(folder.path, 'model.safetensors'), 'the old one'))
afterEach(async () => {
  jest.restoreAllMocks()
  expect(await readdir(folder.path)).toEqual(['model.safetensors'])
  expect(await readFile(join(folder.path, 'model.safetensors'), 'utf8')).toBe('the old one')
})

it.each(['write', 'sync'] as const)('a disk that is full at %s leaves the old file and no other', async (method) => {
  breakHandles(method, failure('ENOSPC'))
  await expect(writeSafetensors(join(folder.path, 'model.safetensors'), [tensor])).rejects.toThrow(/cannot write .*: ENOSPC/)
})

it('so does a rename that is refused', async () => {
  jest.spyOn(fs, 'rename').mockRejectedValue(failure('EPERM'))
  await expect(writeSafetensors(join(folder.path, 'model.safetensors'), [tensor])).rejects.toThrow(/cannot write .*: EPERM/)
})

it('says that the folder is missing, or that the target is one', async () => {
  await expect(writeSafetensors(join(folder.path, 'none', 'model.safetensors'), [tensor])).rejects.toThrow(
    /cannot write .*: the folder .*none does not exist/,
  )
  const target = join(folder.path, 'folder')
  await mkdir(target)
  await expect(writeSafetensors(target, [tensor])).rejects.toThrow(/cannot write .*: it is a folder/)
  await rmdir(target)
})
