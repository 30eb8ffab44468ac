import { SCALES } from '../../codes/published.js'

/**
 * What the published systems are made of, so that each part can be left out and measured alone. See quantize.ts for what they do together.
 */
export const PUBLISHED_PARTS = [
  /** Scales are searched, by the error of products in three alternating rounds; without, they cover the largest magnitude. */
  'search',
  /** Errors of outputs are weighed by Fisher information ('Hessian-guided'); without, all count alike. */
  'fisher',
  /** V-2SF for what softmax and GELU write. */
  'v2sf',
  /** O-2SF for what LayerNorm reads, with full coverage. */
  'o2sf',
  /** SQ-b between LayerNorm and the linear layers that read it. */
  'sq-b',
  /** OPT-m: GELU's ratio of scales is searched; without, it is a rule. Nothing without v2sf. */
  'opt-m',
  /** Greedy MP: widths may be chosen for an average. */
  'greedy-mp',
] as const

export type PublishedPart = (typeof PUBLISHED_PARTS)[number]

export type PublishedParts = ReadonlySet<PublishedPart>

export type PublishedPreset = 'minmax' | 'tsptq' | 'mptq'

/** The baseline, TSPTQ-ViT (arXiv 2305.12901) and MPTQ-ViT (arXiv 2401.14895). */
export const PRESETS: Record<PublishedPreset, readonly PublishedPart[]> = {
  minmax: [],
  tsptq: ['search', 'fisher', 'v2sf', 'o2sf'],
  mptq: PUBLISHED_PARTS,
}

/** No operand that Greedy MP narrows gets narrower. */
export const NARROWEST = 3

/** Fractions of the scale that covers all which are tried. */
export const scalesOf = (parts: PublishedParts): readonly number[] => (parts.has('search') ? SCALES : [1])
