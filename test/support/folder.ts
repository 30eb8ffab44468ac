import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder for the tests of a file, removed after them. Call it outside of tests; the path is there when they run. */
export function temporaryFolder(): { readonly path: string } {
  const folder = { path: '' }
  beforeAll(async () => {
    folder.path = await mkdtemp(join(tmpdir(), 'fewbit-test-'))
  })
  afterAll(() => rm(folder.path, { recursive: true }))
  return folder
}
