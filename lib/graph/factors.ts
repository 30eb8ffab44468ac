import type { Code } from './scheme.js'

/**
 * Codes whose step differs between columns or heads, see {@link Code.factors}.
 */

/** Steps of `count` equal parts of a row (its columns, or the heads of attention); a multiple of the number of factors. */
export function stepsOf({ step, factors = ONE }: Code, count: number): Float32Array {
  const part = count / factors.length
  return Float32Array.from({ length: count }, (_, i) => step * factors[Math.floor(i / part)])
}

/** For each column s, where 2^s is its factor; null for a code without factors. */
export function shiftsOf({ factors }: Code, width: number): Uint8Array | null {
  return factors ? Uint8Array.from({ length: width }, (_, i) => Math.log2(factors[Math.floor((i * factors.length) / width)])) : null
}

/** The code of rows that are `times` rows of this code side by side. */
export function repeatFactors(code: Code, times: number): Code {
  const { factors } = code
  return factors ? { ...code, factors: Float32Array.from({ length: times * factors.length }, (_, i) => factors[i % factors.length]) } : code
}

/** The factors of O-2SF (TSPTQ-ViT): 2^m where a channel is an outlier, else 1. */
export function outlierFactors(outliers: ArrayLike<boolean | number>, m: number): Float32Array {
  return Float32Array.from(outliers, (outlier) => (outlier ? 2 ** m : 1))
}

const ONE = Float32Array.of(1)
