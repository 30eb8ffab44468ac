'use strict'
// process.exit() while a run is under way and another waits.
const { IMAGES, open, start } = require('./heavy.cjs')

start(open(), IMAGES, () => process.exit(7))
start(open(), IMAGES)
