// What more threads gain: the same model on one thread and on several, in turns.
//   node bench/threads.mjs --model deit-small --batch 8
//   --threads N    beside one (default 2; may be repeated)
//   --seconds N    for each model (default 30)
import { randomModel } from '../dist/esm/index.js'
import { RANDOM_ARCHITECTURES } from '../dist/esm/models/random.js'
import { randomValues } from '../dist/esm/random.js'
import { quantizedSoon } from './quantized.mjs'
import { Bench, interleave, machine, machineText, say } from './runner.mjs'

const bench = new Bench('threads', {
  model: { type: 'string', default: 'deit-small' },
  batch: { type: 'string', default: '8' },
  threads: { type: 'string', multiple: true, default: ['2'] },
  seconds: { type: 'string', default: '30' },
})
const [name] = bench.among('model', RANDOM_ARCHITECTURES)
const [batch, seconds] = [bench.whole('batch'), bench.whole('seconds')]
const counts = [...new Set([1, ...bench.wholes('threads')])]

bench.print(machineText(machine()))
say(`${name}: quantizing`)
const float = await randomModel(name, { seed: 0 })
const { channels, height, width } = float.input
const pixels = randomValues(batch * channels * height * width, 0)
for (const { name: contestant, model } of [{ name: 'fewbit float', model: float }, ...(await quantizedSoon(float))]) {
  say(`${contestant}: timing`)
  const times = await interleave(
    counts.map((threads) => ({ run: () => model.run(pixels, batch, { threads }) })),
    { seconds },
  )
  for (const [i, threads] of counts.entries()) {
    const { median, min, rounds } = times[i]
    bench.row({
      model: name,
      contestant,
      batch,
      threads,
      msPerImage: median / batch,
      min: min / batch,
      rounds,
      gain: times[0].median / median,
    })
  }
  model.dispose()
}
bench.print(`${name}, batch ${batch}, medians of ${bench.rows[0].rounds} interleaved runs or more`)
bench.table({
  model: ({ contestant }) => contestant,
  threads: ({ threads }) => String(threads),
  'ms an image': ({ msPerImage }) => msPerImage.toFixed(2),
  least: ({ min }) => min.toFixed(2),
  'against one thread': ({ gain }) => `${gain.toFixed(2)} x`,
})
