/** A folder of images, or of folders of images: one a class. */
import { join } from 'node:path'
import type { Dataset, DatasetOptions } from '../dataset.js'
import { fileDataset, findImages, IMAGE_KINDS, listFolder } from './files.js'
import { classesOfFolders } from './labels.js'

/** @throws Error when there are no images, or both images and folders of them, or the folders do not fit the model's classes */
export async function openFolder(folder: string, { labels: classes }: DatasetOptions): Promise<Dataset> {
  const { images, folders } = await listFolder(folder)
  const groups: { name: string; files: string[] }[] = []
  for (const name of folders) {
    const files = await findImages(join(folder, name))
    if (files.length > 0) groups.push({ name, files })
  }
  if (images.length === 0 && groups.length === 0) {
    throw new Error(`${folder} holds no images (${IMAGE_KINDS}), no CIFAR-10 batches and no labels.csv`)
  }
  if (images.length > 0 && groups.length > 0) {
    throw new Error(
      `${folder} holds both images (${images[0]}, …) and folders of images (${groups[0].name}, …): move the images into folders of classes, ` +
        'or add a labels.csv',
    )
  }
  if (images.length > 0) {
    return fileDataset(
      images.map((name) => join(folder, name)),
      null,
      folder,
    )
  }
  const classOf = classesOfFolders(
    groups.map(({ name }) => name),
    classes,
    folder,
  )
  const labels = groups.flatMap(({ files }, i) => files.map(() => classOf[i]))
  return fileDataset(
    groups.flatMap(({ files }) => files),
    Int32Array.from(labels),
    folder,
  )
}
