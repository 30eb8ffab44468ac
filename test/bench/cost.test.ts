import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { writeDigits } from '../support/digit-files.js'
import { writeFirstBlock } from '../support/digits.js'
import { temporaryFolder } from '../support/folder.js'

const BENCH = resolve(__dirname, '../../bench/cost.mjs')
const folder = temporaryFolder()

it('tells time and memory of a checkpoint on images, each row of its own process', async () => {
  const [checkpoint, data] = ['checkpoint', 'data'].map((name) => join(folder.path, name))
  await writeDigits(data, 'train', 1)
  await writeFirstBlock(checkpoint)
  const argv = [BENCH, checkpoint, data, '--calibration-images', '6', '--json']
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' })
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' })
  const rows = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(rows.map(({ contestant }) => contestant)).toEqual(['fully quantized, average 5', 'partial, W4A4'])
  for (const row of rows) {
    expect(row).toMatchObject({ bench: 'cost', model: checkpoint, images: 6 })
    for (const figure of ['seconds', 'estimated', 'processorSeconds']) expect(row[figure]).toBeGreaterThan(0)
    expect(row.bytes).toBeGreaterThan(2 ** 24)
    expect(row.bytes).toBeLessThan(2 ** 32)
  }
})
