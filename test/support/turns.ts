import { readFileSync } from 'node:fs'

/**
 * Milliseconds that this thread computed between one turn of the event loop and the next while `work` went on, ascending. Time on the
 * processor, which a busy machine does not stretch as it does the time of day.
 */
export async function turnsDuring(work: () => Promise<unknown>): Promise<number[]> {
  const turns: number[] = []
  let last = processorTime()
  const turn = () => {
    const now = processorTime()
    turns.push(now - last)
    last = now
  }
  const timer = setInterval(turn, 1)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
  turn()
  return turns.sort((a, b) => a - b)
}

/** Milliseconds on the processor: of this thread where Linux tells them, else of all threads of the process. */
function processorTime(): number {
  try {
    return Number.parseInt(readFileSync('/proc/thread-self/schedstat', 'latin1'), 10) / 1e6
  } catch {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e3
  }
}

/** The `share` quantile, of values in ascending order. */
export function quantile(ascending: number[], share: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(share * ascending.length))]
}
