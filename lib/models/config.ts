/**
 * Settings of config.json.
 */
import { isObject, type JsonObject, show } from '../values.js'

/** @throws Error that names the key when it is no positive integer */
export function positive(config: JsonObject, key: string, standard: number): number {
  const value = config[key] ?? standard
  if (!isPositive(value)) throw new Error(`config.json: ${key} is ${show(value)}, expected a positive integer`)
  return value
}

/** @throws Error that names the key when it is no list of positive integers */
export function positives(config: JsonObject, key: string, standard: number[]): number[] {
  const value = config[key] ?? standard
  if (!Array.isArray(value) || value.length === 0 || !value.every(isPositive)) {
    throw new Error(`config.json: ${key} is ${show(value)}, expected a list of positive integers`)
  }
  return value
}

/** @throws Error when layer_norm_eps is no number from 0 to 1 */
export function epsilon(config: JsonObject, standard: number): number {
  const value = config.layer_norm_eps ?? standard
  if (typeof value !== 'number' || !(value >= 0 && value < 1)) {
    throw new Error(`config.json: layer_norm_eps is ${show(value)}, expected a number from 0 to 1`)
  }
  return value
}

/**
 * A size in pixels, given as one number or as height and width.
 *
 * @throws Error that names the key when it is neither
 */
export function pairOf(config: JsonObject, key: string, standard: number): [height: number, width: number] {
  const value = config[key] ?? standard
  const [height, width] = Array.isArray(value) ? value : [value, value]
  if (!isPositive(height) || !isPositive(width)) {
    throw new Error(`config.json: ${key} is ${show(value)}, expected a size in pixels`)
  }
  return [height, width]
}

/** The size of images that a timm model takes: from its arguments, its training, or its name. */
export function timmImageSize(config: JsonObject, args: JsonObject, named: number): [height: number, width: number] {
  const pretrained = isObject(config.pretrained_cfg) ? config.pretrained_cfg.input_size : undefined
  const value = args.img_size ?? (Array.isArray(pretrained) ? pretrained.slice(1) : named)
  const [height, width] = Array.isArray(value) ? value : [value, value]
  if (!isPositive(height) || !isPositive(width)) {
    throw new Error(`config.json: the image size ${show(value)} is not a size in pixels`)
  }
  return [height, width]
}

const isPositive = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0
