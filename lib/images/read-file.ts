import { readFile, stat } from 'node:fs/promises'

/** More than the largest image that is decoded takes uncompressed, or a hundred thousand images of CIFAR-10. */
const MOST_BYTES = 2 ** 30

/**
 * A whole file in memory.
 *
 * @throws Error when it cannot be read, has more than 1 GiB, or is a device or pipe: those may never end
 */
export async function readWhole(path: string): Promise<Uint8Array> {
  const status = await stat(path)
  if (!status.isFile()) throw new Error(status.isDirectory() ? 'it is a folder' : 'it is not a regular file')
  if (status.size > MOST_BYTES) throw new Error(`it has ${status.size} bytes, at most ${MOST_BYTES} are allowed`)
  return readFile(path)
}
