import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'

/** How runs, environments and processes end. Crashes would take this process with them, so most happen in children. */

const program = (name: string) => join(__dirname, 'programs', name)

async function child(name: string, ...options: string[]): Promise<{ code: number | null; signal: string | null; stdout: string }> {
  const process_ = spawn(process.execPath, [...options, program(name)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let stdout = ''
  process_.stdout.on('data', (data) => (stdout += data))
  return new Promise((resolve, reject) => {
    process_.on('error', reject)
    process_.on('close', (code, signal) => resolve({ code, signal, stdout: stdout.trim() }))
  })
}

test('a worker that is terminated in mid-run takes its runs with it', async () => {
  for (let i = 0; i < 10; i++) {
    const worker = new Worker(program('worker.cjs'))
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    expect(await worker.terminate()).toBe(1)
  }
})

test('workers that compute at the same time are terminated one after the other', async () => {
  const workers = Array.from({ length: 4 }, () => new Worker(program('worker.cjs')))
  await new Promise((resolve) => workers.forEach((worker) => worker.once('message', resolve)))
  for (const worker of workers) await worker.terminate()
})

test('process.exit in mid-run ends the process with its code', async () => {
  for (let i = 0; i < 5; i++) expect(await child('exit.cjs')).toEqual({ code: 7, signal: null, stdout: '' })
})

test('process.exit while a worker computes', async () => {
  for (let i = 0; i < 5; i++) expect(await child('exit-with-worker.cjs')).toEqual({ code: 9, signal: null, stdout: '' })
})

test('a run that nobody waits for keeps the process alive until it is finished', async () => {
  expect(await child('pending.cjs')).toEqual({ code: 0, signal: null, stdout: 'finished' })
})

test('an input that is transferred away in mid-run', async () => {
  expect(await child('transfer.cjs', '--expose-gc')).toEqual({ code: 0, signal: null, stdout: 'same' })
})

test('an idle session does not keep the process alive', async () => {
  expect(await child('idle.cjs')).toEqual({ code: 0, signal: null, stdout: '' })
})

test('200 cycles of create, run and dispose do not grow the process', async () => {
  const { code, stdout } = await child('memory.cjs', '--expose-gc')
  expect(code).toBe(0)
  expect(Number(stdout)).toBeLessThan(8 * 2 ** 20)
})
