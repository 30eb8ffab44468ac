import type { TensorSource } from '../checkpoint/safetensors.js'
import type { Tensor } from '../graph/graph.js'

/**
 * Tensors of a checkpoint, checked against the shape that an architecture gives them.
 */

/**
 * @param shape expected; dimensions of 1 in front of it may be there in the file
 * @throws Error that names the tensor, the expected and the found shape, or tensors of similar names when it is missing
 */
export async function takeTensor(source: TensorSource, name: string, shape: number[]): Promise<Tensor> {
  const info = source.info(name)
  if (!info) throw new Error(`${source.what}: tensor ${name} is missing, expected with the shape [${shape.join(', ')}]`)
  const found = info.shape
  const extra = found.length - shape.length
  const fits = extra >= 0 && found.every((size, i) => size === (i < extra ? 1 : shape[i - extra]))
  if (!fits) {
    throw new Error(`${source.what}: tensor ${name} has the shape [${found.join(', ')}], expected [${shape.join(', ')}]`)
  }
  const { data } = await source.tensor(name)
  return { shape, data }
}

/** Queries (0), keys (1) or values (2) of one tensor that holds all three, one behind the other; `shape` is that of the part. */
export async function takeThird(source: TensorSource, name: string, shape: number[], third: number): Promise<Tensor> {
  const [first, ...rest] = shape
  const { data } = await takeTensor(source, name, [3 * first, ...rest])
  const length = data.length / 3
  return { shape, data: data.slice(third * length, (third + 1) * length) }
}

/** The shape of a tensor that has to be there, before anything is known about sizes. */
export function shapeOfTensor(source: TensorSource, name: string, dimensions: number): number[] {
  const info = source.info(name)
  if (!info) throw new Error(`${source.what}: tensor ${name} is missing`)
  if (info.shape.length !== dimensions || info.shape.includes(0)) {
    throw new Error(`${source.what}: tensor ${name} has the shape [${info.shape.join(', ')}], expected ${dimensions} dimensions`)
  }
  return info.shape
}

/**
 * One more than the highest layer that any tensor belongs to, so that a layer which is missing in between is noticed.
 *
 * @param pattern finds the number of the layer in a tensor's name
 */
export function countLayers(source: TensorSource, pattern: RegExp): number {
  const layers = source.names().map((name) => Number(pattern.exec(name)?.[1] ?? -1))
  return layers.reduce((most, layer) => Math.max(most, layer + 1), 0)
}

/**
 * Layers without use mean that config.json describes another model, with fewer layers or other ones.
 *
 * @param taken names of the tensors that the graph was made of
 * @param pattern finds the names of tensors that belong to a layer
 * @throws Error that names the first tensor of a layer that was not taken
 */
export function checkLayersTaken(source: TensorSource, taken: Set<string>, pattern: RegExp): void {
  const left = source.names().find((name) => pattern.test(name) && !taken.has(name))
  if (left)
    throw new Error(`${source.what}: tensor ${left} has no place in the model that config.json describes: is its number of layers right?`)
}

/**
 * The table of positions fits the image. Interpolation to another size is not offered.
 *
 * @throws Error that says which images it fits
 */
export function checkPositions(source: TensorSource, name: string, prefix: number, image: number[], patch: number[]): void {
  const { shape } = source.info(name) ?? { shape: [] }
  const rows = shape[shape.length - 2]
  const patches = Math.floor(image[0] / patch[0]) * Math.floor(image[1] / patch[1])
  if (rows === undefined || rows === prefix + patches) return
  throw new Error(
    `${source.what}: ${name} has ${rows} positions, but images of ${image.join(' x ')} in patches of ${patch.join(' x ')} ` +
      `with ${prefix} more token${prefix > 1 ? 's' : ''} need ${prefix + patches}; positions are not interpolated`,
  )
}
