import type { Dataset } from './dataset.js'
import type { RawImage } from './image.js'
import { preprocessSteps } from './preprocess.js'
import type { Preprocessing } from './preprocessing.js'
import { inTurns } from './steps.js'

/** Images read and decoded ahead: keeps the decoder's threads busy. */
const AHEAD = 4

/** Pixels that images decoded ahead may have together, beside the one whose turn it is: 200 MB in colour. */
const ROOM = 1 << 26

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
  const room = new Room()
  const loadNext = (i: number): void => {
    if (i >= indices.length) return
    const image = dataset.load(indices[i], (pixels) => room.reserve(i, pixels))
    // An image whose turn never comes, because an earlier one failed, must not end the process.
    image.catch(() => {})
    ahead.push(image)
  }
  for (let i = 0; i < AHEAD; i++) loadNext(i)
  for (let i = 0; i < indices.length; i++) {
    const image = (await ahead.shift()) as RawImage
    loadNext(i + AHEAD)
    await finish(preprocessSteps(image, preprocessing, target, i * size, dataset.name(indices[i])))
    room.next()
  }
  return target
}

/** Memory for decoded images. The one whose turn it is never waits, so that the batch goes on. */
class Room {
  private turn = 0
  private used = 0
  private readonly held = new Map<number, number>()
  private readonly waiting = new Map<number, { pixels: number; enter: () => void }>()

  /** Resolves when there is room for image `i`. */
  reserve(i: number, pixels: number): Promise<void> {
    return new Promise((enter) => {
      this.waiting.set(i, { pixels, enter })
      this.admit()
    })
  }

  /** The image whose turn it was is finished. */
  next(): void {
    this.used -= this.held.get(this.turn) ?? 0
    this.held.delete(this.turn++)
    this.admit()
  }

  private admit(): void {
    for (const [i, { pixels, enter }] of [...this.waiting].sort(([a], [b]) => a - b)) {
      if (i !== this.turn && this.used + pixels > ROOM) continue
      this.waiting.delete(i)
      this.held.set(i, pixels)
      this.used += pixels
      enter()
    }
  }
}
