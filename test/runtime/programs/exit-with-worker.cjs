'use strict'
// process.exit() of the main thread while a worker computes.
const { join } = require('node:path')
const { Worker } = require('node:worker_threads')

new Worker(join(__dirname, 'worker.cjs')).on('message', () => process.exit(9))
