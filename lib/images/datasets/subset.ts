import type { Dataset } from '../dataset.js'

/**
 * Some images of a dataset.
 *
 * @param indices into it, in any order; at least one
 * @param labels instead of those of the dataset, for all its images
 */
export function subset(dataset: Dataset, indices: readonly number[], labels: Int32Array | null = dataset.labels): Dataset {
  return {
    length: indices.length,
    labels: labels && Int32Array.from(indices, (index) => labels[index]),
    load: (index, reserve) => dataset.load(indices[index], reserve),
    name: (index) => dataset.name(indices[index]),
    describe: () => `${indices.length} of ${dataset.describe()}`,
  }
}
