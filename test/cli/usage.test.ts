import { describe, expect, test } from '@jest/globals'
import { fewbit } from '../support/command-line.js'

const QUANTIZE = ['quantize', 'checkpoint', '--calibrate', 'data', '-o', 'out.fewbit']

describe('usage errors exit with 2 and say what is wrong on stderr', () => {
  test.each([
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['info'], /missing required argument 'model'/],
    [['classify', 'model'], /missing required argument 'image'/],
    [['eval', 'model'], /--data/],
    [['quantize', 'checkpoint', '-o', 'x'], /--calibrate/],
    [['quantize', 'checkpoint', '--calibrate', 'x'], /--output/],
    [['info', 'model', '--frobnicate'], /unknown option '--frobnicate'/],
    [['info', 'a', 'b'], /too many arguments/],
    [['eval', 'model', '--data', 'x', '--device', 'tpu'], /cpu, cuda, auto/],
    [[...QUANTIZE, '--bits', '9'], /--bits.*whole number from 2 to 8/],
    [[...QUANTIZE, '--bits', '1'], /whole number from 2 to 8/],
    [[...QUANTIZE, '--bits', '4.5'], /whole number from 2 to 8/],
    [[...QUANTIZE, '--bits', '4x'], /whole number from 2 to 8/],
    [[...QUANTIZE, '--bits', '0x4'], /whole number from 2 to 8/],
    [[...QUANTIZE, '--bits', ''], /whole number from 2 to 8/],
    [[...QUANTIZE, '--average-bits', '8.5'], /number from 2 to 8/],
    [[...QUANTIZE, '--average-bits', 'NaN'], /number from 2 to 8/],
    [[...QUANTIZE, '--average-bits', '4,5'], /number from 2 to 8/],
    [[...QUANTIZE, '--bits', '4', '--average-bits', '4'], /--bits.*cannot be used with.*--average-bits/],
    [[...QUANTIZE, '--weight-bits', '9'], /--weight-bits.*whole number from 2 to 8/],
    [[...QUANTIZE, '--weight-bits', '4', '--bits', '4'], /--bits.*cannot be used with.*--weight-bits/],
    [[...QUANTIZE, '--activation-bits', '4', '--average-bits', '4'], /--activation-bits.*cannot be used with.*--average-bits/],
    [[...QUANTIZE, '--preset', 'better'], /best, mptq, tsptq, minmax/],
    [[...QUANTIZE, '--coverage', 'most'], /full, partial/],
    [[...QUANTIZE, '--allocation', 'fair'], /--allocation.*knapsack, greedy, even/],
    [[...QUANTIZE, '--without', 'refit,bits'], /--without.*a list of rotation, .*refit/],
    [[...QUANTIZE, '--without', ''], /--without.*a list of/],
    [[...QUANTIZE, '--max-drop', '-1'], /number from 0 to 100/],
    [[...QUANTIZE, '--max-drop', '101'], /number from 0 to 100/],
    [[...QUANTIZE, '--threads', '0'], /whole number from 1 to 256/],
    [[...QUANTIZE, '--threads', '257'], /whole number from 1 to 256/],
    [[...QUANTIZE, '--seed', '-1'], /whole number from 0/],
    [[...QUANTIZE, '--calibration-images', '0'], /whole number from 1/],
    [['bench', 'deit-small', '--batch', '0'], /whole number from 1/],
    [['profile', 'deit-small', '--batch', '0'], /whole number from 1/],
    [['profile'], /missing required argument 'model'/],
    [['export', 'checkpoint', '-o', 'x.onnx'], /--onnx/],
    [['export', 'checkpoint', '--onnx', 'float'], /--output/],
    [['export', 'checkpoint', '--onnx', 'int4', '-o', 'x.onnx'], /float, int8-dynamic, int8-qdq/],
    [['bench', 'deit-small', '--bits', '4', '--average-bits', '4'], /cannot be used with/],
  ])('%j', async (argv, message) => {
    const outcome = await fewbit(argv)
    expect(outcome).toMatchObject({ code: 2, stdout: '' })
    expect(outcome.stderr).toMatch(/^fewbit: /)
    expect(outcome.stderr).toMatch(message)
  })

  test('no command at all shows the help on stderr', async () => {
    const outcome = await fewbit([])
    expect(outcome).toMatchObject({ code: 2, stdout: '' })
    expect(outcome.stderr).toMatch(/quantize.*eval.*classify.*info.*bench.*profile.*export.*doctor/s)
  })
})

test('--help and --version are successes on stdout', async () => {
  expect(await fewbit(['--version'])).toEqual({ code: 0, stdout: '1.2.3\n', stderr: '' })
  const help = await fewbit(['quantize', '--help'])
  expect(help).toMatchObject({ code: 0, stderr: '' })
  const widths = [
    '--bits',
    '--average-bits',
    '--weight-bits',
    '--activation-bits',
    '--preset',
    '--coverage',
    '--max-drop',
    '--validate',
    '--allocation',
  ]
  for (const option of ['--calibrate', '--output', '--calibration-images', '--seed', '--threads', '--cache', '--json', ...widths]) {
    expect(help.stdout).toContain(option)
  }
})

test.each(['bench', 'profile'])('%s --help says that quantizing comes first, and takes its time', async (command) => {
  const { stdout } = await fewbit([command, '--help'])
  expect(stdout.replace(/\s+/g, ' ')).toContain('With --bits or --average-bits it is quantized first')
})
