import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { writeDigit, writeDigits } from './support/digit-files.js'
import { DIGITS } from './support/digits.js'

const root = join(__dirname, '..')

test("the README's example runs as it stands", async () => {
  const example = /```ts\n(.*?)```/s.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1]
  expect(example).toContain("from 'fewbit'")
  const folder = mkdtempSync(join(tmpdir(), 'fewbit-readme-'))
  try {
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(root, join(folder, 'node_modules', 'fewbit'))
    cpSync(DIGITS, join(folder, 'vit-digits'), { recursive: true })
    await writeDigits(join(folder, 'calibration'), 'train', 4)
    await writeDigits(join(folder, 'test'), 'test', 4)
    await writeDigit(join(folder, 'seven.png'), 7)
    writeFileSync(join(folder, 'example.mjs'), example as string)
    const { status, stdout, stderr } = spawnSync(process.execPath, ['example.mjs'], { cwd: folder, encoding: 'utf8' })
    expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^7 0\.\d+\n\d+\.\d % in .*, .* ms an image\n$/)
    expect(statSync(join(folder, 'digits.fewbit')).size).toBeLessThan(statSync(join(DIGITS, 'model.safetensors')).size / 5)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
