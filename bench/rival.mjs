// onnxruntime-node, which is no dependency of the package: ONNXRUNTIME_NODE_INSTALL_CUDA=skip npm install --prefix bench
import { say } from './runner.mjs'

/** The module, or null when it is not installed. */
export async function loadRival() {
  try {
    return (await import('onnxruntime-node')).default
  } catch {
    say('onnxruntime-node is not installed: ONNXRUNTIME_NODE_INSTALL_CUDA=skip npm install --prefix bench')
    return null
  }
}

/** A session with all of its optimizations on that many threads, on the CPU or on another provider. */
export function rivalSession(ort, bytes, threads, provider = 'cpu') {
  return ort.InferenceSession.create(bytes, {
    executionProviders: [provider],
    graphOptimizationLevel: 'all',
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  })
}

/** Logits of `images` images. */
export async function runRival(ort, session, pixels, images, { channels, height, width }) {
  const input = new ort.Tensor('float32', pixels, [images, channels, height, width])
  const { logits } = await session.run({ pixels: input })
  return logits.data
}
