import { chmod, lstat, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { checkReplaceable, replaceFile } from '../../lib/checkpoint/replace-file.js'
import { temporaryFolder } from '../support/folder.js'

const folder = temporaryFolder()
const at = (name: string) => join(folder.path, name)
const replace = (path: string) => replaceFile(path, (handle) => handle.writeFile('new'))
const modeOf = async (path: string) => (await stat(path)).mode & 0o777

afterEach(async () => {
  for (const name of await readdir(folder.path)) await rm(at(name), { recursive: true })
})

it('keeps the permissions of the old file, whatever the umask', async () => {
  const umask = process.umask(0o077)
  try {
    for (const mode of [0o600, 0o664]) {
      await writeFile(at('file'), 'old')
      await chmod(at('file'), mode)
      await replace(at('file'))
      expect(await readFile(at('file'), 'utf8')).toBe('new')
      expect(await modeOf(at('file'))).toBe(mode)
    }
    await replace(at('another'))
    expect(await modeOf(at('another'))).toBe(0o600)
  } finally {
    process.umask(umask)
  }
})

it('follows a link and leaves it', async () => {
  await writeFile(at('file'), 'old')
  await symlink('file', at('link'))
  await replace(at('link'))
  expect(await readFile(at('file'), 'utf8')).toBe('new')
  expect((await lstat(at('link'))).isSymbolicLink()).toBe(true)
  expect(await readlink(at('link'))).toBe('file')
})

it('refuses what is no file, and leaves it', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(at('socket'), resolve))
  await symlink('nowhere', at('dangling'))
  await symlink('socket', at('link'))
  for (const check of [checkReplaceable, replace]) {
    await expect(check(at('socket'))).rejects.toThrow(/cannot write .*socket: it is not a regular file/)
    await expect(check(at('link'))).rejects.toThrow(/link: it is not a regular file/)
    await expect(check(at('dangling'))).rejects.toThrow(/dangling: it is a link to nothing/)
    await expect(check(folder.path)).rejects.toThrow(/it is a folder/)
    await expect(check(at('none/file'))).rejects.toThrow(/the folder .*none does not exist/)
    await expect(check('')).rejects.toThrow('the name of the file is empty')
  }
  expect((await lstat(at('socket'))).isSocket()).toBe(true)
  expect((await readdir(folder.path)).sort()).toEqual(['dangling', 'link', 'socket'])
  await new Promise((resolve) => server.close(resolve))
})

it('checks without a trace', async () => {
  await writeFile(at('file'), 'old')
  await checkReplaceable(at('file'))
  await checkReplaceable(at('another'))
  expect(await readdir(folder.path)).toEqual(['file'])
  expect(await readFile(at('file'), 'utf8')).toBe('old')
  // A name that is too long for the temporary file is found by creating it: 255 bytes are the most in a folder.
  await expect(checkReplaceable(at('x'.repeat(250)))).rejects.toThrow(/cannot write .*ENAMETOOLONG/)
})
