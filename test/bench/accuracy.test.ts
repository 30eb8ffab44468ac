import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { load } from '../../lib/index.js'
import { writeDigits } from '../support/digit-files.js'
import { writeFirstBlock } from '../support/digits.js'
import { temporaryFolder } from '../support/folder.js'

const folder = temporaryFolder()

/** Prints what an evaluation gives, twice for each bound on the pixels that are kept. */
const SCRIPT = `
import { load } from '${resolve(__dirname, '../../dist/esm/index.js')}'
import { evaluate, readImages } from '${resolve(__dirname, '../../bench/accuracy.mjs')}'
const model = await load(process.argv[1])
const results = []
for (const mostKept of [undefined, 0]) {
  const images = await readImages(model, process.argv[2], mostKept)
  for (let i = 0; i < 2; i++) results.push(await evaluate(model, images))
  results.at(-1).kept = (await images.batch(0)) === (await images.batch(0))
}
console.log(JSON.stringify(results.map(({ top1, logits, kept }) => ({ top1, logits: [...logits], kept }))))
`

it('evaluates a test set in batches, whether its pixels are kept or decoded again', async () => {
  const [checkpoint, data] = ['checkpoint', 'data'].map((name) => join(folder.path, name))
  await writeFirstBlock(checkpoint)
  await writeDigits(data, 'test', 11)
  const argv = ['--input-type=module', '-e', SCRIPT, checkpoint, data]
  const { stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' })
  expect(stderr).toBe('')
  const [first, ...others]: { top1: number; logits: number[]; kept?: boolean }[] = JSON.parse(stdout)
  for (const { top1, logits } of others) expect({ top1, logits }).toEqual({ top1: first.top1, logits: first.logits })
  expect(others.map(({ kept }) => kept)).toEqual([true, undefined, false])
  const model = await load(checkpoint)
  try {
    expect(first.top1).toBe((await model.evaluate(data)).top1)
    expect(first.logits).toHaveLength(110 * model.labels.length)
  } finally {
    model.dispose()
  }
})
