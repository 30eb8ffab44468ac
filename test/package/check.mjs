// Packs the package, installs it without scripts into an empty folder and uses it from there both ways.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
/** Of the kernels for all architectures. */
const MOST_KERNEL_BYTES = 6e6
const kernels = join(root, 'build/Release/fewbit.fatbin')
const temp = mkdtempSync(join(tmpdir(), 'fewbit-package-'))
const env = { ...process.env }
delete env.FEWBIT_ADDON
const run = (command, args, cwd) => execFileSync(command, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })

try {
  run('npm', ['pack', '--pack-destination', temp], root)
  const tarball = readdirSync(temp).find((name) => name.endsWith('.tgz'))
  const files = run('tar', ['-tzf', join(temp, tarball)], temp)
    .trim()
    .split('\n')
  const wanted = [
    `package/prebuilds/${process.platform}-${process.arch}/fewbit.node`,
    ...(existsSync(kernels) ? [`package/prebuilds/${process.platform}-${process.arch}/fewbit.fatbin`] : []),
    ...[
      'lib/addon.cjs',
      'dist/esm/index.js',
      'dist/esm/index.d.ts',
      'dist/cjs/index.js',
      'dist/cjs/index.d.ts',
      'docs/architecture.md',
      'LICENSE',
    ].map((name) => `package/${name}`),
  ]
  if (existsSync(kernels) && statSync(kernels).size >= MOST_KERNEL_BYTES)
    throw new Error(`${kernels} is larger than ${MOST_KERNEL_BYTES} bytes`)
  for (const name of wanted) if (!files.includes(name)) throw new Error(`${name} is not in the tarball`)
  for (const name of files) if (/\/(test|build|node_modules|bench)\//.test(name)) throw new Error(`${name} is in the tarball`)

  const app = join(temp, 'app')
  mkdirSync(app)
  writeFileSync(join(app, 'package.json'), '{ "name": "app", "private": true }\n')
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', join(temp, tarball)], app)

  writeFileSync(
    join(app, 'use.cjs'),
    `const required = require('fewbit')
     // model/on-demand.ts
     const early = Object.keys(require.cache).filter((file) => /cjs.(onnx|report|model.quantize[.]|quant.search[.])/.test(file))
     if (early.length > 0) throw new Error('read before they are needed: ' + early.join())
     const refused = async (call) => {
       const error = await call().then(() => null, (error) => error)
       if (!/has no option nope/.test(error?.message)) throw error ?? new Error('an unknown option was taken')
     }
     import('fewbit').then(async (imported) => {
       for (const { quantize, exportOnnx, reportHtml } of [required, imported]) {
         await refused(() => quantize('x', { nope: 1 }))
         await refused(() => exportOnnx('x', { nope: 1 }))
         await refused(() => reportHtml({}, { nope: 1 }))
       }
       const names = (o) => Object.keys(o).filter((name) => !['default', 'module.exports', '__esModule'].includes(name)).sort().join()
       if (!names(required)) throw new Error('nothing is exported')
       if (names(required) !== names(imported)) throw new Error('exports differ: ' + names(required) + ' / ' + names(imported))
       if (!Object.keys(require.cache).some((file) => file.includes('prebuilds'))) throw new Error('the prebuilt addon was not loaded')
       require('fewbit/package.json')
       console.log(names(required))
     })`,
  )
  run('node', ['use.cjs'], app)
  writeFileSync(join(app, 'use.mjs'), `import * as fewbit from 'fewbit'\nif (Object.keys(fewbit).length === 0) process.exit(1)\n`)
  run('node', ['use.mjs'], app)
  run(join(app, 'node_modules', '.bin', 'fewbit'), ['--version'], app)

  // The typings of each flavour, by the compiler and the node types of this repository, library checks on.
  for (const extension of ['mts', 'cts'])
    writeFileSync(join(app, `types.${extension}`), `import * as fewbit from 'fewbit'\nexport const names: string[] = Object.keys(fewbit)\n`)
  writeFileSync(
    join(app, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        ...{ module: 'nodenext', target: 'es2022', strict: true, noEmit: true, skipLibCheck: false },
        ...{ types: ['node'], typeRoots: [join(root, 'node_modules', '@types')] },
      },
      files: ['types.mts', 'types.cts'],
    }),
  )
  const require = (await import('node:module')).createRequire(import.meta.url)
  const tsc = join(dirname(require.resolve('typescript/package.json')), require('typescript/package.json').bin.tsc)
  try {
    run(process.execPath, [tsc, '-p', app], app)
  } catch (error) {
    throw new Error(`the typings do not compile:\n${error.stdout}`)
  }
  run(join(root, 'node_modules', '.bin', 'publint'), ['--strict', join(temp, tarball)], root)
  console.log('package: installs without scripts, loads through require and import, typings compile')
} finally {
  rmSync(temp, { recursive: true, force: true })
}
