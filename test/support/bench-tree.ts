import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { writeDigits } from './digit-files.js'
import { writeFirstBlock } from './digits.js'
import { temporaryFolder } from './folder.js'

/** Of the models that benches of accuracy know; a smaller one stands in for it. */
export const BENCH_MODEL = 'vit-tiny-imagenet'

/**
 * What benches of accuracy look for, made of digits, for all tests of a file.
 *
 * @param name of the bench
 * @returns a function that runs it there
 */
export function benchOnDigits(name: string) {
  const folder = temporaryFolder()
  beforeAll(async () => {
    await writeDigits(join(folder.path, 'imagenet-like/calibration'), 'train', 1)
    await writeDigits(join(folder.path, 'imagenet-like/test'), 'test', 2)
    mkdirSync(join(folder.path, 'zoo'))
    await writeFirstBlock(join(folder.path, 'zoo', BENCH_MODEL))
  })
  const bench = resolve(__dirname, '../../bench', name)
  return (...args: string[]) =>
    spawnSync(process.execPath, [bench, ...args], { encoding: 'utf8', env: { ...process.env, FEWBIT_SHARED: folder.path } })
}
