/** Words in files and folder names -> the model's classes. */
import { show } from '../../values.js'

/** Letter case and underscores do not distinguish classes. */
function fold(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replace(/[_\s]+/g, ' ')
}

/**
 * @param where what to blame in the message
 * @returns the class of that name, exact names first; null when there is none
 * @throws Error when several classes share the name, as two of ImageNet's do
 */
function findClass(name: string, classes: readonly string[], where: string): number | null {
  const indices = [...classes.keys()]
  const exact = indices.filter((i) => classes[i] === name)
  const found = exact.length > 0 ? exact : indices.filter((i) => fold(classes[i]) === fold(name))
  if (found.length > 1) throw new Error(`${where}: classes ${found.join(' and ')} are both called ${name}; use the index`)
  return found[0] ?? null
}

function isIndex(text: string): boolean {
  return /^\d{1,9}$/.test(text)
}

function examples(names: readonly string[]): string {
  return names.slice(0, 3).join(', ') + (names.length > 3 ? ', …' : '')
}

/**
 * The class that a label in a table means: an index, or a name.
 *
 * @returns null for a name when there are no classes to look it up in
 * @throws Error blaming `where` when the model has no such class
 */
export function classOfLabel(label: string, classes: readonly string[] | undefined, where: string): number | null {
  if (isIndex(label)) {
    const index = Number(label)
    if (classes !== undefined && index >= classes.length) {
      throw new Error(`${where}: label ${index} is outside the model's classes 0..${classes.length - 1}`)
    }
    return index
  }
  if (classes === undefined) return null
  const found = findClass(label, classes, where)
  if (found !== null) return found
  throw new Error(`${where}: label ${show(label)} is neither an index nor one of the model's classes (${examples(classes)})`)
}

/**
 * The class of each folder: by name when all are names of classes, else by index when all are numbers, else in sorted order.
 *
 * @param folders sorted
 * @param classes left out: sorted order
 * @throws Error when some are names of classes and some not, or in the last case when there are more or fewer folders than classes
 */
export function classesOfFolders(folders: string[], classes: readonly string[] | undefined, where: string): number[] {
  if (classes === undefined) return folders.map((_, i) => i)
  const named = folders.map((name) => findClass(name, classes, where))
  if (named.every((index) => index !== null)) return named
  if (folders.every(isIndex)) return folders.map((name) => classOfLabel(name, classes, where) as number)
  if (named.some((index) => index !== null)) {
    const unknown = folders.filter((_, i) => named[i] === null)
    throw new Error(`${where}: no class of the model is called ${examples(unknown)}, though other folders are named as classes`)
  }
  if (folders.length === classes.length) return folders.map((_, i) => i)
  throw new Error(
    `${where} holds ${folders.length} folders of images (${examples(folders)}) but the model has ${classes.length} classes ` +
      `(${examples(classes)}): name the folders as the classes`,
  )
}
