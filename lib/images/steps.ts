import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Work in steps: a generator that yields about every millisecond or two, so that one piece of code serves callers who wait (`finish`) and
 * callers who must not block the event loop (`inTurns`).
 */
export type Steps<T> = Generator<void, T>

/** Milliseconds of work between two turns of the event loop. */
const SLICE = 4

/** Does all the work at once. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value as T
  }
}

/**
 * For a series of works: does each in slices of about 4 ms, with a turn of the event loop between two slices. Small works share a slice.
 *
 * @returns a function that does one work; it throws the reason of `signal` once that is aborted
 */
export function inTurns(signal?: AbortSignal): <T>(steps: Steps<T>) => Promise<T> {
  let start = performance.now()
  return async (steps) => {
    for (;;) {
      if (performance.now() - start >= SLICE) {
        await nextTurn()
        start = performance.now()
      }
      signal?.throwIfAborted()
      const { done, value } = steps.next()
      if (done) return value
    }
  }
}
