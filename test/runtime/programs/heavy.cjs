'use strict'
// A plan that takes long, straight on the addon: 64 layers of 256 x 256 on 64 rows, about 1 ms an image on a fast path.
const addon = require('../../../lib/addon.cjs')

const [rows, width, layers, batch] = [64, 256, 64, 2]
const bytes = rows * width * 4
const view = (space, offset) => ({ space, offset, rowStride: width * 4, imageStride: bytes, rows, width })

exports.IMAGES = 2000
exports.bytes = bytes

exports.open = () => {
  const blobs = [addon.allocateBlob(width * width * 4), addon.allocateBlob(width * 4)]
  const ops = Array.from({ length: layers }, (_, i) => ({
    ...{ name: `layer${i}`, op: 'linearF32', activation: 'none' },
    ...{ weight: { blob: 0, offset: 0 }, bias: { blob: 1, offset: 0 } },
    x: i === 0 ? view('input', 0) : view('arena', (i % 2) * batch * bytes),
    y: i === layers - 1 ? view('output', 0) : view('arena', ((i + 1) % 2) * batch * bytes),
  }))
  return addon.createSession({ batch, arenaBytes: 2 * batch * bytes, inputBytes: bytes, outputBytes: bytes, ops, blobs }, '', 2)
}

exports.start = (session, images, progress = null, done = () => {}) => {
  const array = () => new Float32Array((images * bytes) / 4)
  return session.run(array(), array(), images, 2, null, progress, done)
}
