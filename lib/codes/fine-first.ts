import { isPlain } from '../graph/encoder.js'
import type { Code } from '../graph/scheme.js'
import { isStep } from './code.js'

/**
 * A code of few levels whose first row has all that a byte can tell apart (Code.fineFirst): levels are spread over the byte, and the step shrinks as much, which
 * changes no value that a level stands for.
 */

/**
 * @param highest level
 * @param anyZero whether levels may lie anywhere around 0 ({@link isPlain}, or 256 consecutive integers)
 * @returns the code as it is where its levels fill the byte already and none lies between them
 */
export function withFineFirst(code: Code, highest: number, anyZero: boolean): Code {
  const fits = (levels: number[]) => {
    const [low, high] = [levels[0], levels[levels.length - 1]]
    return (isPlain(levels) && high <= highest) || (anyZero && low < 0 && high - low <= 255)
  }
  let { levels, step } = code
  for (;;) {
    const wider = levels.map((level) => 2 * level)
    if (!fits(wider) || !isStep(step / 2)) break
    levels = wider
    step /= 2
  }
  const between = levels.some((level, i) => i > 0 && level - levels[i - 1] > 1)
  if (!between) return code
  const consecutive = code.family === 'uniform'
  return { ...code, family: consecutive ? 'codebook' : code.family, levels, step, fineFirst: true }
}
