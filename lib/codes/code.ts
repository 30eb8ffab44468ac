import type { Code } from '../graph/scheme.js'

/**
 * The code families. A code is a set of integers (levels) times a step, see {@link Code}; the families differ only in which integers.
 */

/** Levels low..low + 2^bits - 1. `low` is -2^(bits-1) for a symmetric code and 0 for an unsigned one. */
export function uniformCode(bits: number, step: number, low: number): Code {
  return { bits, family: 'uniform', levels: Array.from({ length: 2 ** bits }, (_, i) => low + i), step: positive(step) }
}

/**
 * V-2SF (TSPTQ-ViT): one flag bit chooses between a fine scale `step` and a coarse one, 2^m as large.
 *
 * Unsigned (softmax): p and p << m for p in 0..2^(bits-1)-1. Signed (GELU, split by magnitude): p in -H..H-1, H = 2^(bits-2), finely, and
 * p << m for p in 0..2^(bits-1)-1 coarsely. Codes of the coarse region that fall on levels of the fine one are repeated, as in the paper.
 * The signedness and the bound on m that keeps levels inside a byte are our definition.
 */
export function twoScaleCode(bits: number, step: number, m: number, signed: boolean): Code {
  const payload = 2 ** (bits - 1)
  const fine = Array.from({ length: payload }, (_, i) => (signed ? i - payload / 2 : i))
  const coarse = Array.from({ length: payload }, (_, p) => p * 2 ** m)
  return { bits, family: 'v2sf', levels: [...fine, ...coarse].sort((a, b) => a - b), step: positive(step) }
}

/**
 * V-2SF for GELU split by sign, the other reading of the paper: the flag is the sign, negative values have the step `step`, others one 2^m as large.
 * p in -2^(bits-1)..-1 finely, p << m for p in 0..2^(bits-1)-1 coarsely; with m = 0 the symmetric uniform code.
 */
export function signSplitCode(bits: number, step: number, m: number): Code {
  const half = 2 ** (bits - 1)
  const levels = Array.from({ length: 2 * half }, (_, i) => (i < half ? i - half : (i - half) * 2 ** m))
  return { bits, family: 'v2sf', levels, step: positive(step) }
}

/** Any integers: ascending, 2^bits of them, 0 among them, all in -128..127 or all in 0..255. */
export function codebook(bits: number, step: number, levels: number[]): Code {
  return { bits, family: 'codebook', levels, step: positive(step) }
}

/** The largest m for which every level of {@link twoScaleCode} fits a byte: (2^(bits-1) - 1) << m <= 255, or 127 when signed. */
export function largestShift(bits: number, signed: boolean): number {
  return Math.floor(Math.log2((signed ? 127 : 255) / (2 ** (bits - 1) - 1)))
}

/** Steps are stored and used as float32; one that is none (all calibration values are 0, or next to it) becomes 1. */
function positive(step: number): number {
  const rounded = Math.fround(step)
  return isStep(rounded) ? rounded : 1
}

/** Whether a float32 is positive, and its inverse a float32 too: encoders multiply by it. */
export function isStep(step: number): boolean {
  return step > 0 && Number.isFinite(step) && Number.isFinite(Math.fround(1 / step))
}
