import { readFile, stat } from 'node:fs/promises'
import { isObject, type JsonObject } from '../values.js'
import { parseJsonObject } from './json.js'

/**
 * config.json, preprocessor_config.json, and the names of the classes in them.
 */

/** Real ones have at most a few hundred kilobytes of labels. */
const LARGEST_CONFIG = 1 << 24

/** @returns null when there is no such file */
export async function readJsonFile(path: string): Promise<JsonObject | null> {
  const status = await stat(path).catch(() => null)
  if (!status?.isFile()) return null
  if (status.size > LARGEST_CONFIG) throw new Error(`${path} has ${status.size} bytes, too many for a configuration`)
  return parseJsonObject(await readFile(path), path)
}

/**
 * Class names by index: transformers' id2label, or timm's label_descriptions or label_names.
 *
 * @returns null when the configuration names no classes
 * @throws Error when a class has no name
 */
export function labelsOf(config: JsonObject): string[] | null {
  const { id2label, label_names: names, label_descriptions: descriptions } = config
  if (isObject(id2label)) {
    const count = Object.keys(id2label).length
    return Array.from({ length: count }, (_, i) => {
      const label = Object.hasOwn(id2label, String(i)) ? id2label[String(i)] : undefined
      if (typeof label !== 'string') throw new Error(`config.json: id2label has ${count} classes, but no name for class ${i}`)
      return label
    })
  }
  if (!Array.isArray(names)) return null
  return names.map((name, i) => {
    if (typeof name !== 'string') throw new Error(`config.json: label_names[${i}] is not a string`)
    const description = isObject(descriptions) && Object.hasOwn(descriptions, name) ? descriptions[name] : name
    return typeof description === 'string' ? description : name
  })
}
