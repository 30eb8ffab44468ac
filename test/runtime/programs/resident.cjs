'use strict'
// Prints by how many bytes the process grew when it loaded the container that is given. Run with --expose-gc.
const { load } = require('../../../dist/cjs/index.js')

async function main() {
  global.gc()
  const before = process.memoryUsage().rss
  const model = await load(process.argv[2])
  global.gc()
  console.log(process.memoryUsage().rss - before)
  model.dispose()
}
main()
