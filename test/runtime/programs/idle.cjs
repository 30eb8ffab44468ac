'use strict'
// Sessions that are neither used nor disposed keep nothing alive.
const { open, start } = require('./heavy.cjs')

open()
start(open(), 1)
