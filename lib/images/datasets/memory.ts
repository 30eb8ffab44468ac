import type { Dataset } from '../dataset.js'
import { decodeImage } from '../decode.js'
import { checkRawImage, type ImageInput, isBytes } from '../image.js'
import { checkIndex } from './files.js'

/**
 * Images that the caller has: paths, bytes of files, or pixels.
 *
 * @param labels class of each image, left out: no labels
 * @throws Error when there are none; RangeError for pixels of a wrong size, for more or fewer labels than images, or a label below 0
 */
export function memoryDataset(images: readonly ImageInput[], labels?: ArrayLike<number>): Dataset {
  const { length } = images
  if (length === 0) throw new Error('there are no images')
  if (labels !== undefined) checkLabels(labels, length)
  const name = (index: number): string => {
    checkIndex(index, length)
    const image = images[index]
    return typeof image === 'string' ? image : `image ${index}`
  }
  images.forEach((image, index) => {
    if (typeof image !== 'string' && !isBytes(image)) checkRawImage(image, name(index))
  })
  return {
    length,
    labels: labels === undefined ? null : Int32Array.from(labels),
    load: async (index, reserve) => decodeImage(images[index], name(index), reserve),
    name,
    describe: () => `${length} images in memory`,
  }
}

function checkLabels(labels: ArrayLike<number>, images: number): void {
  if (labels.length !== images) throw new RangeError(`there are ${images} images but ${labels.length} labels`)
  for (let i = 0; i < images; i++) {
    if (!Number.isInteger(labels[i]) || labels[i] < 0) throw new RangeError(`label ${i} must be an integer from 0 on, not ${labels[i]}`)
  }
}
