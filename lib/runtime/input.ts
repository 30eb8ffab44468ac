/**
 * The input of a run in memory that nobody else can reach: threads read it while JavaScript goes on, and JavaScript may transfer any buffer
 * that it sees, which frees the memory under their feet.
 */

/**
 * Floats copied between two chances for the event loop, 1 MiB: 256 pages of 4 KiB, and as many of the input. Fresh ones were seen to take
 * 11 microseconds each, 6 ms in all.
 */
const SLICE = 1 << 18

/** Fresh memory costs more than a copy, so one buffer is kept for the next run; larger ones are freed. 16 MiB. */
const LARGEST_SPARE = 1 << 22

/** The last copy under way in this thread. Later ones wait for it, however short they are: runs keep the order of their calls. */
let last: Promise<unknown> | null = null

export class InputCopier {
  private spare: Float32Array | null = null

  /**
   * Hands a copy to `run`, which queues a run before it returns. The copy is used again when its promise has settled.
   *
   * @throws TypeError when the input is transferred before the copy is complete
   */
  async lend<T>(input: Float32Array, signal: AbortSignal | undefined, run: (copy: Float32Array) => Promise<T>): Promise<T> {
    const { length } = input
    const buffer = this.spare !== null && this.spare.length >= length ? this.spare : new Float32Array(length)
    this.spare = null
    const copy = buffer.subarray(0, length)
    try {
      if (last === null && length <= SLICE) {
        this.copySlice(input, copy, 0)
        return await run(copy)
      }
      return await (
        await inTurn(
          (begin) => this.copySlice(input, copy, begin),
          length,
          signal,
          () => run(copy),
        )
      ).run
    } finally {
      if (buffer.length <= LARGEST_SPARE) this.spare = buffer
    }
  }

  private copySlice(input: Float32Array, copy: Float32Array, begin: number): void {
    if (input.length !== copy.length) throw new TypeError('the input was transferred or resized before it was copied')
    copy.subarray(begin, begin + SLICE).set(input.subarray(begin, begin + SLICE))
  }
}

/**
 * Calls `run`, which queues a run before it returns, when all copies that were begun before are complete: runs keep the order of their
 * calls.
 */
export async function withoutCopy<T>(signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
  return last === null ? run() : (await inTurn(() => {}, 0, signal, run)).run
}

/**
 * Copies slice by slice, then runs. Wrapped, because the next copy waits until the run is queued, and not until it is finished.
 *
 * @param copySlice gets the place where a slice begins
 */
function inTurn<T>(
  copySlice: (begin: number) => void,
  length: number,
  signal: AbortSignal | undefined,
  run: () => Promise<T>,
): Promise<{ run: Promise<T> }> {
  const previous = last
  const turn = (async () => {
    await previous?.catch(() => {})
    for (let begin = 0; begin < length; begin += SLICE) {
      if (begin > 0) await new Promise((resolve) => setImmediate(resolve))
      signal?.throwIfAborted()
      copySlice(begin)
    }
    return { run: run() }
  })()
  last = turn
  const end = () => {
    if (last === turn) last = null
  }
  turn.then(end, end)
  return turn
}
