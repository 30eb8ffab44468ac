import type { Dataset } from './dataset.js'
import type { RawImage } from './image.js'
import { preprocessSteps } from './preprocess.js'
import type { Preprocessing } from './preprocessing.js'
import { inTurns } from './steps.js'

/** Images read and decoded ahead: keeps the decoder's threads busy, and bounds memory. */
const AHEAD = 4

/**
 * Loads and preprocesses images. Files are decoded on other threads, and what runs on this one yields to the event loop about every 4 ms.
 *
 * @param indices into the dataset, any order, repeats allowed
 * @returns [indices.length][channels][height][width]
 * @throws the reason of `signal` once it is aborted; the first error of an image, which names it
 */
export async function loadBatch(
  dataset: Dataset,
  indices: ArrayLike<number>,
  preprocessing: Preprocessing,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Float32Array> {
  signal?.throwIfAborted()
  const size = preprocessing.channels * preprocessing.height * preprocessing.width
  const target = new Float32Array(indices.length * size)
  const finish = inTurns(signal)
  const ahead: Promise<RawImage>[] = []
  const loadNext = (i: number): void => {
    if (i >= indices.length) return
    const image = dataset.load(indices[i])
    // An image whose turn never comes, because an earlier one failed, must not end the process.
    image.catch(() => {})
    ahead.push(image)
  }
  for (let i = 0; i < AHEAD; i++) loadNext(i)
  for (let i = 0; i < indices.length; i++) {
    const image = (await ahead.shift()) as RawImage
    loadNext(i + AHEAD)
    await finish(preprocessSteps(image, preprocessing, target, i * size, dataset.name(indices[i])))
  }
  return target
}
