'use strict'
// Loads the native addon: FEWBIT_ADDON when set, else the prebuilt file of this platform, else a local build.
// One CommonJS file for the ESM and the CommonJS build, so that the addon and its state exist once.
const path = require('node:path')

const root = path.join(__dirname, '..')

// The paths are literals so that bundlers and packagers see the files.
function prebuilt() {
  switch (`${process.platform}-${process.arch}`) {
    case 'linux-x64':
      return require('../prebuilds/linux-x64/fewbit.node')
    case 'linux-arm64':
      return require('../prebuilds/linux-arm64/fewbit.node')
    case 'darwin-arm64':
      return require('../prebuilds/darwin-arm64/fewbit.node')
    case 'darwin-x64':
      return require('../prebuilds/darwin-x64/fewbit.node')
    case 'win32-x64':
      return require('../prebuilds/win32-x64/fewbit.node')
    case 'win32-arm64':
      return require('../prebuilds/win32-arm64/fewbit.node')
    default:
      throw new Error('no prebuilt addon is made for this platform')
  }
}

function load() {
  const override = process.env.FEWBIT_ADDON
  const attempts = override
    ? [[`FEWBIT_ADDON=${override}`, () => require(path.resolve(override))]]
    : [
        [`prebuilds/${process.platform}-${process.arch}/fewbit.node`, prebuilt],
        ['a local build, through bindings', () => require('bindings')({ bindings: 'fewbit', module_root: root })],
      ]
  const failures = []
  for (const [what, attempt] of attempts) {
    try {
      return attempt()
    } catch (cause) {
      failures.push({ what, cause })
    }
  }

  const installed = root.split(path.sep).includes('node_modules')
  const remedy = override
    ? 'Correct FEWBIT_ADDON, or unset it to use the addon of the package.'
    : installed
      ? 'Build it here (needs cmake and a C++17 compiler):\n' +
        '  npm install --no-save cmake-js@8 node-addon-api@8\n' +
        '  npm explore fewbit -- npm run build:native'
      : `Build it (needs cmake and a C++17 compiler):\n  cd ${root} && npm run build:native`
  const list = failures.map(({ what, cause }) => `- ${what}: ${reason(cause)}`).join('\n')
  const error = new Error(
    `fewbit could not load its native addon (${process.platform}-${process.arch}, Node ${process.versions.node}).\n${list}\n${remedy}`,
    { cause: failures.at(-1).cause },
  )
  error.code = 'ERR_FEWBIT_ADDON'
  throw error
}

function reason(cause) {
  const message = String(cause?.message ?? cause)
  // "Cannot find module" goes on with the stack of requires, which tells nothing here; the tries of bindings do tell.
  return cause?.code === 'MODULE_NOT_FOUND' && !cause.tries ? message.split('\n')[0] : message.replaceAll('\n', '\n  ')
}

module.exports = load()
