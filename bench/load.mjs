// How long a .fewbit file takes to load: by processes that load it first of all, and once more.
//   node bench/load.mjs --model vit-base
//   --processes N    (default 7)
// The file is written to a temporary folder and so is in the page cache.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomModel } from '../dist/esm/index.js'
import { median } from '../dist/esm/model/statistics.js'
import { RANDOM_ARCHITECTURES } from '../dist/esm/models/random.js'
import { quantizedSoon } from './quantized.mjs'
import { Bench, machine, machineText, say } from './runner.mjs'

const LOADS = 8

const bench = new Bench('load', { model: { type: 'string', default: 'deit-small' }, processes: { type: 'string', default: '7' } })
const [name] = bench.among('model', RANDOM_ARCHITECTURES)
const processes = bench.whole('processes')

bench.print(machineText(machine()))
say(`${name}: quantizing`)
const folder = mkdtempSync(join(tmpdir(), 'fewbit-load-'))
try {
  for (const { name: contestant, model } of await quantizedSoon(await randomModel(name, { seed: 0 }))) {
    const path = join(folder, 'model.fewbit')
    await model.save(path)
    model.dispose()
    const found = Array.from({ length: processes }, () => loads(path))
    const first = median(found.map(([time]) => time))
    const later = median(found.flatMap(([, ...times]) => times))
    bench.row({ model: name, contestant, bytes: statSync(path).size, first, later, processes: found.length })
  }
} finally {
  rmSync(folder, { recursive: true })
}
bench.table({
  model: ({ contestant }) => contestant,
  MB: ({ bytes }) => (bytes / 1e6).toFixed(1),
  'first of a process, ms': ({ first }) => first.toFixed(1),
  'later, ms': ({ later }) => later.toFixed(1),
})

/** @returns milliseconds of each load of a new process */
function loads(path) {
  const program = `
    import { load } from ${JSON.stringify(new URL('../dist/esm/index.js', import.meta.url).href)}
    const times = []
    for (let i = 0; i < ${LOADS}; i++) {
      const start = performance.now()
      const model = await load(${JSON.stringify(path)})
      times.push(performance.now() - start)
      model.dispose()
    }
    console.log(JSON.stringify(times))`
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`loading failed:\n${stderr}`)
  return JSON.parse(stdout)
}
