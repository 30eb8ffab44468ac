import addon from '#addon'

/** The names of the CPU paths that run on this machine. */
export const runningPaths = addon.paths().flatMap(({ name, runs }) => (runs ? [name] : []))
