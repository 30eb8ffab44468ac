/** labels.csv: a header row with at least the columns `file` and `label`, then a row an image. */
import { stat } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { show } from '../../values.js'
import type { Dataset, DatasetOptions } from '../dataset.js'
import { readWhole } from '../read-file.js'
import { parseCsv } from './csv.js'
import { attempt, fileDataset } from './files.js'
import { classOfLabel } from './labels.js'

/** Files looked for at a time. */
const LOOKUPS = 64

/**
 * @param folder what the paths in the column `file` start from, unless they are absolute
 * @throws Error naming the line: columns missing, quoting wrong, a file that is not there, a label that the model does not have
 */
export async function openTable(path: string, folder: string, { labels: classes }: DatasetOptions): Promise<Dataset> {
  const [header, ...rows] = parseCsv(await readText(path), path)
  const fileColumn = header?.cells.indexOf('file') ?? -1
  const labelColumn = header?.cells.indexOf('label') ?? -1
  if (fileColumn < 0 || labelColumn < 0) {
    throw new Error(
      `${path}: the first line must name the columns, among them file and label, but is ${show(header?.cells.join(',') ?? '')}`,
    )
  }
  if (rows.length === 0) throw new Error(`${path} lists no images`)
  const files: string[] = []
  const labels: (number | null)[] = []
  for (const { cells, line } of rows) {
    const where = `${path}, line ${line}`
    if (cells.length !== header.cells.length)
      throw new Error(`${where}: ${cells.length} columns, but the header has ${header.cells.length}`)
    if (cells[fileColumn] === '') throw new Error(`${where}: the file is missing`)
    files.push(isAbsolute(cells[fileColumn]) ? cells[fileColumn] : join(folder, cells[fileColumn]))
    labels.push(classOfLabel(cells[labelColumn].trim(), classes, where))
  }
  await mustExist(files, (i) => `${path}, line ${rows[i].line}`)
  return fileDataset(files, labels.includes(null) ? null : Int32Array.from(labels as number[]), path)
}

function readText(path: string): Promise<string> {
  return attempt(path, async () => new TextDecoder('utf-8', { fatal: true }).decode(await readWhole(path)))
}

async function mustExist(files: string[], where: (index: number) => string): Promise<void> {
  for (let start = 0; start < files.length; start += LOOKUPS) {
    const found = await Promise.all(files.slice(start, start + LOOKUPS).map((file) => stat(file).catch(() => null)))
    const missing = found.findIndex((entry) => !entry?.isFile())
    if (missing >= 0) throw new Error(`${where(start + missing)}: there is no file ${files[start + missing]}`)
  }
}
