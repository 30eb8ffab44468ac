/**
 * What the preset `best` is made of, in the order of its steps, so that each part can be left out and measured alone.
 */
export const PARTS = [
  /**
   * The residual stream is turned, so that no channel reaches much farther than the others, where it can be rounded with less loss then.
   */
  'rotation',
  /** Queries, keys and values are turned head by head. */
  'head-rotation',
  /** Outlier channels of an MLP become several. */
  'splitting',
  /** Factors and shifts of channels move between layers (SQ-b). */
  'smoothing',
  /** Smoothing may shift by the middle of a range, and divide by it alone (RepQ-ViT). */
  'repq',
  /** Errors are weighed by Fisher information; without it, by what they add to the outputs of products. */
  'fisher',
  /**
   * With full coverage, codes of the residual stream are chosen on rows that the predictions mind most; without it, on rows spread evenly.
   */
  'stream-rows',
  /** Softmax is coded relative to the largest weight of each query, and codes are divided by their sum. */
  'relative-softmax',
  /** Two steps for values of softmax and GELU, by magnitude (V-2SF). */
  'v2sf',
  /** With full coverage, two steps for channels of the residual stream and of what GELU reads (O-2SF). */
  'o2sf',
  /** Contiguous regions of levels, and for values of softmax and GELU logarithmic ones. */
  'families',
  /** Free levels where they err less. */
  'codebooks',
  /** A step for each head of attention where it errs less; softmax that is relative needs none. */
  'head-steps',
  /** A step for each row of a weight; without it, one for the whole weight. */
  'row-steps',
  /** Columns of a weight make up for the rounding of earlier ones (GPTQ). */
  'compensation',
  /** With compensation and row-steps, the step of a row and single levels are searched once more. */
  'descent',
  /** Biases make up for what quantization adds to the mean of a layer's outputs. */
  'bias',
  /** For an average, widths are chosen by the damage that they do; without it, by size alone. */
  'allocation',
  /** For an average, the class token of each image has 8 bits where other rows have fewer. */
  'class-token',
  /**
   * Codes are found once more on what the quantized layers before make of the images, and kept where logits of images left out come closer
   * to the float model's.
   */
  'sequence',
  /** In the sequence, rows of what layers read count as much as predictions mind errors of what the layers make of them. */
  'row-sensitivity',
  /** In the sequence, gamma and beta of each LayerNorm give the signal its mean and size back. */
  'norms',
  /** In the sequence, weights are fitted to the errors of what they multiply (ERQ). */
  'refit',
] as const

export type Part = (typeof PARTS)[number]

/** Left out unless they are asked for: they harm some models (docs/quantization.md). */
export const EXTRAS: readonly Part[] = ['repq', 'norms']

/** Parts that are left out. */
export type Without = ReadonlySet<Part>

export const NOTHING: Without = new Set()
