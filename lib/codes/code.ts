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
 * V-2SF for GELU split by sign, the other reading of the paper: the flag is the sign, negative values have the step `step`, others one 2^m
 * as large. p in -2^(bits-1)..-1 finely, p << m for p in 0..2^(bits-1)-1 coarsely; with m = 0 the symmetric uniform code.
 */
export function signSplitCode(bits: number, step: number, m: number): Code {
  const half = 2 ** (bits - 1)
  const levels = Array.from({ length: 2 * half }, (_, i) => (i < half ? i - half : (i - half) * 2 ** m))
  return { bits, family: 'v2sf', levels, step: positive(step) }
}

/**
 * Contiguous regions, two or four of them, each with as many levels, 2^shift apart: the first starts at `low`, each other where the one
 * before it would have had its next level. No level is wasted, and equal shifts are a uniform code. Two regions are V-2SF without its
 * overlap, four a small floating point format.
 *
 * @param shifts of each region, the least of them 0
 */
export function regionsCode(bits: number, step: number, shifts: readonly number[], low: number): Code {
  const payload = 2 ** bits / shifts.length
  const levels = new Array<number>(2 ** bits).fill(low)
  for (let i = 1; i < levels.length; i++) levels[i] = levels[i - 1] + 2 ** shifts[Math.floor((i - 1) / payload)]
  return { bits, family: 'regions', levels, step: positive(step) }
}

/**
 * Logarithmic: top 2^(-octaves u), u = 0..2^bits - 2, and 0, rounded to different integers. Below where powers lie closer than integers the
 * code is uniform. `octaves` is 1 for log2, 1/2 for log-sqrt2 (RepQ-ViT), q / 37 for AdaLog.
 *
 * @param top the highest level, 2^bits - 1 or more
 * @param zero how many levels lie below 0: the code is shifted so that this one becomes 0 (AdaLog for GELU)
 */
export function logCode(bits: number, step: number, octaves: number, top: number, zero = 0): Code {
  const levels = logLevels(bits, octaves, top)
  return { bits, family: 'log', levels: levels.map((level) => level - levels[zero]), step: positive(step) }
}

/** 2^bits ascending integers from 0 to `top`. */
export function logLevels(bits: number, octaves: number, top: number): number[] {
  const levels = new Array<number>(2 ** bits).fill(0)
  for (let i = levels.length - 1, most = top; i > 0; i--) {
    const power = top * 2 ** (-octaves * (levels.length - 1 - i))
    // i levels are still to come, 0 the last of them.
    levels[i] = Math.max(Math.min(Math.round(power), most), i)
    most = levels[i] - 1
  }
  return levels
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
export function positive(step: number): number {
  const rounded = Math.fround(step)
  return isStep(rounded) ? rounded : 1
}

/** Whether a float32 is positive, and its inverse a float32 too: encoders multiply by it. */
export function isStep(step: number): boolean {
  return step > 0 && Number.isFinite(step) && Number.isFinite(Math.fround(1 / step))
}
