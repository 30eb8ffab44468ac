import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { access, type FileHandle, lstat, open, realpath, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'

/**
 * Writing files: completely or not at all.
 */

/** The file behind a path. */
interface Target {
  path: string
  /** Permissions of the file that is there; undefined when there is none. */
  mode: number | undefined
}

/**
 * Writes a temporary file beside `path`, forces it to the disk and renames it. Links are followed, and a file that was there keeps its
 * permissions.
 *
 * @returns what `write` does
 * @throws Error when anything fails, or something else than a file is there; the temporary file is gone and `path` is as it was
 */
export async function replaceFile<T>(path: string, write: (handle: FileHandle) => Promise<T>): Promise<T> {
  return withTemporary(path, async (handle, temporary, target) => {
    const result = await write(handle)
    await handle.sync()
    await handle.close()
    await rename(temporary, target)
    await syncFolder(dirname(target))
    return result
  })
}

/**
 * Finds out before the work whether {@link replaceFile} can begin, and leaves nothing behind.
 *
 * @throws Error that says what is in the way
 */
export async function checkReplaceable(path: string): Promise<void> {
  await withTemporary(path, async (handle, temporary) => {
    await handle.close()
    await unlink(temporary)
  })
}

async function withTemporary<T>(path: string, use: (handle: FileHandle, temporary: string, target: string) => Promise<T>): Promise<T> {
  let temporary: string | null = null
  let handle: FileHandle | null = null
  try {
    const { path: target, mode } = await findTarget(path)
    const name = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}.tmp`)
    handle = await open(name, 'wx', mode ?? 0o666)
    temporary = name
    if (mode !== undefined) await handle.chmod(mode) // what the umask took
    return await use(handle, temporary, target)
  } catch (cause) {
    await handle?.close().catch(() => {})
    if (temporary !== null) await unlink(temporary).catch(() => {})
    throw new Error(`cannot write ${path}: ${(cause as Error).message}`, { cause })
  }
}

async function findTarget(path: string): Promise<Target> {
  if (path === '') throw new Error('the name of the file is empty')
  const folder = dirname(resolve(path))
  const parent = await stat(folder).catch(() => null)
  if (!parent?.isDirectory()) throw new Error(`the folder ${folder} does not exist`)
  const entry = await lstat(path).catch(() => null)
  if (entry === null) return { path: resolve(path), mode: undefined }
  const target = await realpath(path).catch((cause) => {
    throw new Error(`it is a link to nothing: ${cause.message}`, { cause })
  })
  const status = await stat(target)
  if (status.isDirectory()) throw new Error('it is a folder')
  if (!status.isFile()) throw new Error('it is not a regular file')
  await access(target, constants.W_OK)
  return { path: target, mode: status.mode & 0o7777 }
}

/** Makes the rename itself last. Windows and some network file systems cannot open folders, and need not. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => null)
  await folder?.sync().catch(() => {})
  await folder?.close()
}
