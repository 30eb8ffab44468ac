'use strict'
// Transfers the input away and frees it while a run is under way; prints whether the outputs are those of a run that is left alone. Run with
// --expose-gc.
const { join } = require('node:path')
const { load } = require('../../../dist/cjs/index.js')

const IMAGES = 2000

async function main() {
  const model = await load(join(__dirname, '../../../assets/vit-digits'))
  const pixels = () => new Float32Array(784 * IMAGES).map((_, i) => (i % 251) / 251)
  const wanted = await model.run(pixels(), IMAGES)
  let input = pixels()
  const onProgress = () => {
    if (input === null) return
    structuredClone(input.buffer, { transfer: [input.buffer] })
    input = null
    global.gc()
  }
  const found = await model.run(input, IMAGES, { onProgress })
  const same = input === null && found.every((logit, i) => logit === wanted[i])
  console.log(same ? 'same' : 'different')
}
main()
