import addon from '#addon'

/** More than this many threads never help one model. */
export const MAX_THREADS = 256

/** The number of threads of a run: `threads`, or what this process may use. */
export function chooseThreads(threads?: number): number {
  if (threads === undefined) return Math.min(addon.defaultThreads().threads, MAX_THREADS)
  if (!(Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS)) {
    throw new RangeError(`threads must be an integer from 1 to ${MAX_THREADS}, not ${threads}`)
  }
  return threads
}
