/** Lists of image files: finding them, and the dataset that decodes them one by one. */
import { readdir, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import type { Dataset } from '../dataset.js'
import { decodeImage } from '../decode.js'

const EXTENSIONS = ['.jpg', '.jpeg', '.png', '.webp', '.gif', '.tif', '.tiff', '.avif']

/** For messages. */
export const IMAGE_KINDS = EXTENSIONS.join(' ')

export function isImageFile(name: string): boolean {
  return EXTENSIONS.includes(extname(name).toLowerCase())
}

/** @throws RangeError */
export function checkIndex(index: number, length: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= length) {
    throw new RangeError(`there is no image ${index}: the indices are 0..${length - 1}`)
  }
}

/** Image files and folders directly in a folder, each sorted by name; hidden ones are left out, links followed. */
export async function listFolder(folder: string): Promise<{ images: string[]; folders: string[] }> {
  const images: string[] = []
  const folders: string[] = []
  for (const entry of await attempt(`the folder ${folder}`, () => readdir(folder, { withFileTypes: true }))) {
    if (entry.name.startsWith('.')) continue
    const path = join(folder, entry.name)
    const kind = entry.isSymbolicLink() ? await attempt(`the link ${path}`, () => stat(path)) : entry
    if (kind.isDirectory()) folders.push(entry.name)
    else if (kind.isFile() && isImageFile(entry.name)) images.push(entry.name)
  }
  return { images: images.sort(), folders: folders.sort() }
}

/** Says what could not be read when it cannot. */
export async function attempt<T>(what: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    throw new Error(`cannot read ${what}: ${(error as Error).message}`, { cause: error })
  }
}

/** Deeper than any set of images, and an end to a link that leads back up. */
const MAX_DEPTH = 16

/** Paths of all images in a folder and the folders in it. */
export async function findImages(folder: string, depth = 0): Promise<string[]> {
  if (depth > MAX_DEPTH) throw new Error(`${folder} lies more than ${MAX_DEPTH} folders deep: does a link lead back up?`)
  const { images, folders } = await listFolder(folder)
  const paths = images.map((name) => join(folder, name))
  for (const name of folders) paths.push(...(await findImages(join(folder, name), depth + 1)))
  return paths
}

/**
 * @param files paths, at least one
 * @param source where they come from
 */
export function fileDataset(files: readonly string[], labels: Int32Array | null, source: string): Dataset {
  return {
    length: files.length,
    labels,
    async load(index, reserve) {
      checkIndex(index, files.length)
      return decodeImage(files[index], files[index], reserve)
    },
    name(index) {
      checkIndex(index, files.length)
      return files[index]
    },
    describe: () => (files.length === 1 && files[0] === source ? source : `${files.length} images of ${source}`),
  }
}
