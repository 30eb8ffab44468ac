import { existsSync } from 'node:fs'
import type { RawImage } from '../images/image.js'
import { noiseImages } from '../images/noise.js'
import { type LoadOptions, load, type Model, randomModel } from '../index.js'
import { RANDOM_ARCHITECTURES } from '../models/random.js'

/** Commands that have no need of what a model has learned take names of architectures, too. */

/** Enough to give every code a step; times do not depend on the values. */
const NOISE_IMAGES = 4

/** Whether it is not a path, which wins over an architecture of the same name. */
export const namesArchitecture = (name: string): boolean => !existsSync(name) && !/[\\/]|\.fewbit$/.test(name)

/** A checkpoint, a .fewbit file, or an architecture with random weights. */
export async function openModel(name: string, { seed, ...options }: LoadOptions & { seed: number }): Promise<Model> {
  if (!namesArchitecture(name)) return load(name, options)
  if (!RANDOM_ARCHITECTURES.includes(name)) {
    throw new Error(`there is no file or folder ${name}, and it is no architecture: those are ${RANDOM_ARCHITECTURES.join(', ')}`)
  }
  return randomModel(name, { ...options, seed })
}

/** What calibrates a model with random weights. */
export const noiseFor = (model: Model, seed: number): RawImage[] => noiseImages(model.input, NOISE_IMAGES, seed)
