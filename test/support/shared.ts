import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

/** A path in the folder of reference data that lies beside a development checkout. */
export function shared(...path: string[]): string {
  return resolve(__dirname, '../../../shared', ...path)
}

/** `describe` when the reference data is there, else one that is skipped, saying so. */
export function describeWith(path: string): typeof describe {
  if (existsSync(shared(path))) return describe
  console.log(`skipped: this checkout has no ../shared/${path}`)
  return describe.skip as typeof describe
}
