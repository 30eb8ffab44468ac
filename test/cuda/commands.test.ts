import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { describeOnSimulator } from '../support/cuda.js'
import { writeDigits } from '../support/digit-files.js'
import { DIGITS } from '../support/digits.js'
import { temporaryFolder } from '../support/folder.js'

/**
 * The built command line on a CUDA device, and when its driver fails: a simulator of it is told to by variables that it reads when it is
 * opened.
 */

const ROOT = resolve(__dirname, '../..')

function node(args: string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, PTXSIM_LOG: '/dev/null', ...env },
  })
  return { status, stdout, stderr }
}

const fewbit = (args: string[], env?: Record<string, string>) => node(['dist/esm/cli/main.js', ...args], env)

/** Evaluates `images` of noise on the device and the CPU, `times` times each; prints what became of each as JSON. */
const PROGRAM = `
  import { load } from './dist/esm/index.js'
  const [cuda, again, cpu] = await Promise.all(['cuda', 'cuda', 'cpu'].map((device) => load('${DIGITS}', { device })))
  const pixels = Float32Array.from({ length: 2 * 784 }, (_, i) => Math.sin(i))
  const run = (model) => model.run(pixels, 2).then((logits) => [...logits], (error) => error.message)
  const outcomes = []
  for (const model of [cpu, cuda, cuda, again, cpu]) outcomes.push(await run(model))
  for (const model of [cuda, again, cpu]) model.dispose()
  console.log(JSON.stringify(outcomes))
`
const outcomes = (env: Record<string, string>): (number[] | string)[] =>
  JSON.parse(node(['--input-type=module', '-e', PROGRAM], env).stdout)

describeOnSimulator()('a CUDA device', () => {
  const folder = temporaryFolder()

  test('is listed by doctor', () => {
    const { devices } = JSON.parse(fewbit(['doctor', '--json']).stdout)
    expect(devices.at(-1)).toMatchObject({
      device: 'cuda:0',
      built: true,
      runs: true,
      reason: expect.stringContaining('compute capability 8.0'),
    })
  })

  test('evaluates as the CPU does', async () => {
    await writeDigits(folder.path, 'test', 1)
    const [cuda, cpu] = ['cuda', 'cpu'].map((device) => fewbit(['eval', DIGITS, '--data', folder.path, '--device', device, '--json']))
    expect(cuda.status).toBe(0)
    const { top1, top5, images } = JSON.parse(cuda.stdout)
    expect(JSON.parse(cpu.stdout)).toMatchObject({ top1, top5, images })
  })

  test('quantizes on the CPU, evaluates the result, and launches at most eight kernels a block', async () => {
    await writeDigits(join(folder.path, 'train'), 'train', 2)
    const model = join(folder.path, 'digits.fewbit')
    const args = ['--calibrate', join(folder.path, 'train'), '--preset', 'minmax', '--bits', '8', '--device', 'cuda']
    expect(fewbit(['quantize', DIGITS, '-o', model, ...args]).status).toBe(0)
    await writeDigits(join(folder.path, 'one'), 'test', 1)
    for (const each of [model, DIGITS]) {
      const report = join(folder.path, `${basename(each)}.json`)
      const { status } = fewbit(['eval', each, '--data', join(folder.path, 'one'), '--device', 'cuda'], { PTXSIM_REPORT: report })
      expect(status).toBe(0)
      const kernels = readFileSync(report, 'utf8')
        .trim()
        .split('\n')
        .map((line): string => JSON.parse(line).kernel)
      const count = (name: string) => kernels.filter((kernel) => kernel.includes(name)).length
      const blocks = count('attention')
      expect(blocks).toBe(6)
      // Patches, their linear layer, rows of constants, the last LayerNorm and the head come besides.
      expect(kernels.length).toBeLessThanOrEqual(8 * blocks + 6)
      expect(count('linear')).toBe(4 * blocks + 2)
    }
  })

  test.each([
    ['alloc:2', 'CUDA_ERROR_OUT_OF_MEMORY'],
    ['launch:3', 'CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES'],
  ])('that fails at %s rejects one run and leaves the process and other models usable', (fault, error) => {
    const [cpu, first, second, other, last] = outcomes({ PTXSIM_FAIL: fault })
    expect(first).toMatch(new RegExp(`^CUDA: .*failed: ${error}`))
    expect(last).toEqual(cpu)
    for (const found of [second, other] as number[][]) {
      expect(found).toEqual(second)
      found.forEach((value, i) => expect(value).toBeCloseTo((cpu as number[])[i], 4))
    }
  })

  test("that fails ends a command with the driver's error", () => {
    const { status, stderr } = fewbit(['bench', DIGITS, '--device', 'cuda'], { PTXSIM_FAIL: 'alloc:1' })
    expect(status).toBe(1)
    expect(stderr).toMatch(/^fewbit: CUDA: allocating 5 MiB on ptxsim sm_80 failed: CUDA_ERROR_OUT_OF_MEMORY/m)
  })

  test.each([
    [{ PTXSIM_NODEVICE: '1' }, /finds no device \(CUDA_ERROR_NO_DEVICE\)/],
    [{ PTXSIM_CC: '75' }, /compute capability 7\.5; the kernels need 8\.0/],
    [{ FEWBIT_CUDA_ARCH: 'banana' }, /FEWBIT_CUDA_ARCH 'banana' names no image of the kernels, which are .*compute_80 \(PTX\)/],
    [{ FEWBIT_CUDA_ARCH: '86' }, /FEWBIT_CUDA_ARCH(=86.*CUDA_ERROR_NO_BINARY_FOR_GPU| '86' names no image)/],
  ])('that is not there for %j: doctor says why, cuda is refused, auto is the CPU', (env, message) => {
    expect(fewbit(['doctor'], env).stdout).toMatch(message)
    const refused = fewbit(['bench', DIGITS, '--device', 'cuda'], env)
    expect(refused.status).toBe(1)
    expect(refused.stderr).toMatch(message)
    const auto = fewbit(['bench', DIGITS, '--device', 'auto'], env)
    expect(auto.status).toBe(0)
    expect(auto.stderr).toMatch(message)
  })
})
