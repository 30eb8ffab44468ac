import { sampleStride } from '../../lib/quant/observe.js'

it.each([
  // Swin at 224 x 224, 64 images: 7 would take every window's same column.
  [64 * 3136, 3136, 32768],
  [16 * 3136, 3136, 32768],
  [100 * 197, 197, 4096],
  [128 * 65, 65, 4096],
  [10, 5, 4096],
])('takes rows of every token: %i rows, %i an image, %i at most', (rows, rowsPerImage, most) => {
  const stride = sampleStride(rows, rowsPerImage, most)
  expect(Math.ceil(rows / stride)).toBeLessThanOrEqual(most)
  const tokens = new Set(Array.from({ length: Math.ceil(rows / stride) }, (_, i) => (i * stride) % rowsPerImage))
  // As many as there are, or as rows are taken.
  expect(tokens.size).toBe(Math.min(rowsPerImage, Math.ceil(rows / stride)))
})
