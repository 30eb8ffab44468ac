import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'

const run = (name: string, ...args: string[]) =>
  spawnSync(process.execPath, [resolve(__dirname, '../../bench', `${name}.mjs`), ...args], { encoding: 'utf8' })

it.each([
  ['bench', ['--modle', 'deit-small'], /Unknown option '--modle'; the options are --model, --batch, --threads, --seconds, --json, --help$/],
  ['bench', ['--batch', 'x'], /--batch must be 1 or 8, not x$/],
  ['bench', ['--batch', '--json'], /'--batch' argument is ambiguous; the options are/],
  ['bench', ['--seconds', '0'], /--seconds must be a whole number from 1 on, not 0$/],
  ['bench', ['deit-small'], /Unexpected argument 'deit-small'/],
  ['cost', ['--calibration-images', '1.5'], /--calibration-images must be a whole number from 1 on, not 1.5$/],
  ['cost', ['--rwo', '1'], /Unknown option '--rwo'; the options are/],
  ['cuda', ['--chek'], /Unknown option '--chek'; the options are --check, --only, --help$/],
  ['gemm', ['--shape', 'one row'], /--shape needs --path$/],
  ['load', ['--processes', '-1'], /--processes/],
  ['onnx', ['--model', 'lenet'], /--model must be vit-tiny or deit, distilled or swin-tiny, not lenet$/],
  ['quantization', ['--rows', 'worst'], /--rows 'worst' is part of the name of no row; the rows are 'best, partial, W8A8'/],
  ['threads', ['--model', 'lenet'], /--model must be vit-tiny or .*, not lenet$/],
  ['threads', ['--threads', '2', '--threads', 'two'], /--threads must be a whole number from 1 on, not two$/],
])('%s %j is refused in one line', (name, args, message) => {
  const { status, stdout, stderr } = run(name, ...args)
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(stderr).toMatch(/^[^\n]*\n$/)
  expect(stderr.trimEnd()).toMatch(message)
})

it('--help tells what a program measures and how it is called', () => {
  const { status, stdout, stderr } = run('threads', '--help')
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(stdout).toMatch(
    /^What more threads gain.*\n {2}node bench\/threads\.mjs --model deit-small --batch 8\n[\s\S]*\nOptions: --model, .*, --json, --help\n$/,
  )
})
