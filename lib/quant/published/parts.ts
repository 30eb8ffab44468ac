import { SCALES } from '../../codes/published.js'

/**
 * What the published systems are made of, so that each part can be left out and measured alone. See quantize.ts for what they do together.
 */
export interface Parts {
  /** Scales are searched, by the error of products in three alternating rounds; without, they cover the largest magnitude. */
  search: boolean
  /** Errors of outputs are weighed by Fisher information ('Hessian-guided'); without, all count alike. */
  fisher: boolean
  /** V-2SF for what softmax and GELU write. */
  twoScale: boolean
  /** O-2SF for what LayerNorm reads, with full coverage. */
  outliers: boolean
  /** SQ-b between LayerNorm and the linear layers that read it. */
  smooth: boolean
  /** OPT-m: GELU's ratio of scales is searched; without, it is a rule. */
  ratio: boolean
  /** Greedy MP: widths may be chosen for an average. */
  mixed: boolean
}

export type PublishedPreset = 'minmax' | 'tsptq' | 'mptq'

const MINMAX: Parts = { search: false, fisher: false, twoScale: false, outliers: false, smooth: false, ratio: false, mixed: false }
const TSPTQ: Parts = { ...MINMAX, search: true, fisher: true, twoScale: true, outliers: true }

/** The baseline, TSPTQ-ViT (arXiv 2305.12901) and MPTQ-ViT (arXiv 2401.14895). */
export const PRESETS: Record<PublishedPreset, Parts> = {
  minmax: MINMAX,
  tsptq: TSPTQ,
  mptq: { ...TSPTQ, smooth: true, ratio: true, mixed: true },
}

/** No operand that Greedy MP narrows gets narrower. */
export const NARROWEST = 3

/** Fractions of the scale that covers all which are tried. */
export const scalesOf = ({ search }: Parts): readonly number[] => (search ? SCALES : [1])
