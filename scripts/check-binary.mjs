// What the compiler's output must not contain. Linux with binutils.
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const faults = []
const lines = (command, args) => execFileSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28 }).split('\n')

const addon = join(root, 'build', 'Release', 'fewbit.node')
for (const line of lines('nm', ['-D', '-C', '--undefined-only', addon]))
  if (/ (v8::|node::|uv_|cu[A-Z]|cuda)/.test(line)) faults.push(`the addon imports${line}`)
for (const line of lines('readelf', ['-d', addon]))
  if (/NEEDED/.test(line) && !/\[(libc|libm|libstdc\+\+|libgcc_s|libpthread|libdl|ld-linux.*)\.so/.test(line))
    faults.push(`the addon needs ${line.trim()}`)

// Of an inline function that is emitted in several files the linker keeps one copy. When a file for a newer instruction set emits one
// that older code also uses, the copy that stays can be an illegal instruction on older processors.
const objects = join(root, 'build', 'cmake', 'Release')
const level = (file) => (/_(avx512|amx)\.cpp\.o$/.test(file) ? 2 : /_(avx2|avxvnni)\.cpp\.o$/.test(file) ? 1 : 0)
const lowest = new Map()
const weak = []
for (const file of readdirSync(objects, { recursive: true })) {
  if (!file.endsWith('.cpp.o')) continue
  for (const line of lines('nm', ['-C', join(objects, file)])) {
    const [, kind, name] = /^[0-9a-f ]{16} ([A-Za-z]) (.*)$/.exec(line) ?? []
    if (!kind || !/[UWVu]/.test(kind)) continue
    lowest.set(name, Math.min(lowest.get(name) ?? 2, level(file)))
    if (kind !== 'U' && level(file) > 0) weak.push({ file, name })
  }
}
for (const { file, name } of weak)
  if (lowest.get(name) < level(file)) faults.push(`${file} emits ${name}, which older code uses too: make it static or always_inline`)

for (const fault of faults) console.error(`fewbit: ${fault}`)
process.exit(faults.length > 0 ? 1 : 0)
