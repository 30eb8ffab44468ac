'use strict'
// Nothing but a run keeps this process alive: it must end when the run has, not before and not never.
const { open, start } = require('./heavy.cjs')

start(open(), 20, null, (error) => console.log(error ? error.message : 'finished'))
