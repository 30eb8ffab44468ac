import type { Code } from '../graph/scheme.js'
import { largestShift, signSplitCode, twoScaleCode, uniformCode } from './code.js'

/**
 * The codes that the published presets search through: families times a grid of scales, one step for a whole tensor.
 */

/**
 * PTQ4ViT's grid of scales, as fractions of the one that covers all: 0.01 + i (1.2 - 0.01) / 100. The fraction 1 is added: never worse than
 * min-max.
 */
export const SCALES: readonly number[] = [...Array.from({ length: 101 }, (_, i) => 0.01 + (i * 1.19) / 100), 1]

/** Symmetric signed (every input of a product but two), unsigned for softmax, V-2SF for what softmax writes and for what GELU writes. */
export type Family = 'symmetric' | 'unsigned' | 'softmax' | 'gelu'

export interface Range {
  min: number
  max: number
}

/** V-2SF leaves one bit less than the width for the values of a region: from here on it is worth its flag. */
const LEAST_TWO_SCALE_BITS = 3
/** GELU is nowhere below -0.16997. */
const GELU_REACH = 0.17

/** The step with which the largest magnitude is rounded to the outermost level without more than half a step of error. */
export const symmetricStep = (reach: number, bits: number): number => reach / (2 ** (bits - 1) - 0.5)

/**
 * @param scales fractions, see {@link SCALES}
 * @param ratio 'rule': GELU's ratio of scales is {@link handRule}'s; 'searched': every ratio that fits a byte is there as well (OPT-m)
 */
export function familyCodes(family: Family, bits: number, range: Range, scales: readonly number[], ratio: 'rule' | 'searched'): Code[] {
  const twoScale = bits >= LEAST_TWO_SCALE_BITS
  switch (family) {
    case 'symmetric':
      return symmetricCodes(bits, range, scales)
    case 'unsigned':
      return unsignedCodes(bits, range, scales)
    case 'softmax':
      // m = 0 would waste the flag: then the code is uniform.
      return [...unsignedCodes(bits, range, scales), ...(twoScale ? softmaxCodes(bits, range, scales) : [])]
    case 'gelu':
      if (!twoScale) return symmetricCodes(bits, range, scales)
      return ratio === 'rule' ? handRule(bits, range, scales) : [...handRule(bits, range, scales), ...optimalRatio(bits, range, scales)]
  }
}

function symmetricCodes(bits: number, { min, max }: Range, scales: readonly number[]): Code[] {
  const step = symmetricStep(Math.max(max, -min), bits)
  return scales.map((c) => uniformCode(bits, c * step, -(2 ** (bits - 1))))
}

function unsignedCodes(bits: number, { max }: Range, scales: readonly number[]): Code[] {
  return scales.map((c) => uniformCode(bits, (c * max) / (2 ** bits - 0.5), 0))
}

function softmaxCodes(bits: number, { max }: Range, scales: readonly number[]): Code[] {
  const top = max / (2 ** (bits - 1) - 1)
  const shifts = Array.from({ length: largestShift(bits, false) }, (_, i) => i + 1)
  return shifts.flatMap((m) => scales.map((c) => twoScaleCode(bits, (c * top) / 2 ** m, m, false)))
}

/** A code of two scales for GELU whose coarse scale is `coarse`; split by sign or by magnitude. */
const geluCode = (split: 'sign' | 'magnitude', bits: number, coarse: number, m: number): Code =>
  split === 'sign' ? signSplitCode(bits, coarse / 2 ** m, m) : twoScaleCode(bits, coarse / 2 ** m, m, true)

/**
 * TSPTQ-ViT's ratio by hand, for both readings of it: the fine region ends where GELU does (steps of 0.17 / 2^(bits-1) when split by sign,
 * of 0.17 / 2^(bits-2) when split by magnitude), and m is the smallest with which the coarse one covers the rest. The rule for the split by
 * magnitude is ours, and so is what happens when m has no room in a byte: m is the largest that has, and the steps grow until all is
 * covered.
 */
export function handRule(bits: number, { max }: Range, scales: readonly number[]): Code[] {
  const last = 2 ** (bits - 1) - 1
  return (['sign', 'magnitude'] as const).flatMap((split) => {
    const fine = GELU_REACH / 2 ** (bits - (split === 'sign' ? 1 : 2))
    const wanted = Math.max(0, Math.ceil(Math.log2(max / (last * fine))))
    const m = Math.min(wanted, largestShift(bits, true))
    const coarse = m < wanted ? max / last : fine * 2 ** m
    // Without a ratio the split by magnitude is half of a uniform code.
    return m === 0 && split === 'magnitude' ? [] : scales.map((c) => geluCode(split, bits, c * coarse, m))
  })
}

/** OPT-m (MPTQ-ViT): ratio and scale both from data; m = 0 is the symmetric uniform code. */
export function optimalRatio(bits: number, range: Range, scales: readonly number[]): Code[] {
  const top = range.max / (2 ** (bits - 1) - 1)
  const shifts = Array.from({ length: largestShift(bits, true) }, (_, i) => i + 1)
  const split = shifts.flatMap((m) => (['sign', 'magnitude'] as const).flatMap((by) => scales.map((c) => geluCode(by, bits, c * top, m))))
  return [...symmetricCodes(bits, range, scales), ...split]
}
