'use strict'
// In a worker thread: tells its parent when a run is under way.
const { parentPort } = require('node:worker_threads')
const { IMAGES, open, start } = require('./heavy.cjs')

const session = open()
start(session, IMAGES, () => parentPort.postMessage('running'))
start(session, IMAGES)
start(open(), IMAGES)
