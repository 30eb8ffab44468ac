import type { Dataset } from '../dataset.js'

/**
 * Some images of a dataset.
 *
 * @param indices into it, in any order; at least one
 */
export function subset(dataset: Dataset, indices: readonly number[]): Dataset {
  const { labels } = dataset
  return {
    length: indices.length,
    labels: labels && Int32Array.from(indices, (index) => labels[index]),
    load: (index, reserve) => dataset.load(indices[index], reserve),
    name: (index) => dataset.name(indices[index]),
    describe: () => `${indices.length} of ${dataset.describe()}`,
  }
}
