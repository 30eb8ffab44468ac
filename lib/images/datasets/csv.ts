/** Comma-separated values as in RFC 4180: quoted cells may hold commas, line ends and doubled quotes. */

export interface CsvRow {
  cells: string[]
  /** Where it starts in the file, from 1. */
  line: number
}

/** One cell and what ends it: quoted, or without quotes, commas and line ends. */
const CELL = /(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r\n|\n|\r|$)/y

/**
 * @param source what to call the text in messages
 * @returns rows from the header on; empty lines are left out, a byte order mark too
 * @throws Error naming the line of a quote that is not closed or stands inside an unquoted cell
 */
export function parseCsv(text: string, source: string): CsvRow[] {
  const rows: CsvRow[] = []
  let cells: string[] = []
  let line = 1
  let started = 1
  CELL.lastIndex = text.startsWith('\ufeff') ? 1 : 0
  while (CELL.lastIndex < text.length || cells.length > 0) {
    const match = CELL.exec(text)
    if (match === null) throw new Error(`${source}, line ${line}: a quote is not closed, or stands inside a cell that is not quoted`)
    const [whole, quoted, plain, end] = match
    cells.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'))
    line += whole.match(/\r\n|\n|\r/g)?.length ?? 0
    if (end === ',') continue
    if (cells.length > 1 || cells[0] !== '') rows.push({ cells, line: started })
    cells = []
    started = line
  }
  return rows
}
