'use strict'
// Prints by how many bytes the process grew in 200 cycles of create, run, dispose, after a warm-up. Run with --expose-gc.
const { open, start } = require('./heavy.cjs')

async function cycles(count) {
  for (let i = 0; i < count; i++) {
    const session = open()
    await new Promise((resolve) => start(session, 1, null, resolve))
    if (i % 2) session.dispose() // the others by their finalizers
    if (i % 10 === 9) global.gc()
  }
  await new Promise(setImmediate)
  global.gc()
}

async function main() {
  await cycles(100)
  const before = process.memoryUsage().rss
  await cycles(200)
  console.log(process.memoryUsage().rss - before)
}
main()
