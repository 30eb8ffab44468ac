import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Keeps long TypeScript work off the event loop's back: `await breathe()` in every inner loop yields a turn whenever the last one is more
 * than a few milliseconds ago, and throws the signal's reason once it is aborted.
 */
export function breather(signal?: AbortSignal, milliseconds = 4): () => Promise<void> | void {
  let last = performance.now()
  return () => {
    if (performance.now() - last < milliseconds) return
    return nextTurn().then(() => {
      last = performance.now()
      signal?.throwIfAborted()
    })
  }
}
