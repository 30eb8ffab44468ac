import addon from '#addon'
import { chooseDevice, choosePath, devices, doctor } from '../../lib/runtime/devices.js'

describe('devices', () => {
  const { FEWBIT_ISA } = process.env
  afterEach(() => {
    if (FEWBIT_ISA === undefined) delete process.env.FEWBIT_ISA
    else process.env.FEWBIT_ISA = FEWBIT_ISA
  })
  beforeEach(() => {
    delete process.env.FEWBIT_ISA
  })

  test('lists every path and cuda, one of them chosen', () => {
    const list = devices()
    const cuda = list.filter(({ device }) => device !== 'cpu')
    expect(list.map(({ path }) => path)).toEqual(['portable', 'avx2', 'avxvnni', 'avx512vnni', 'amx', ...cuda.map(() => null)])
    expect(list.filter(({ chosen }) => chosen)).toHaveLength(1)
    expect(list.find(({ chosen }) => chosen)).toBe(list.findLast(({ device, runs }) => device === 'cpu' && runs))
    expect(cuda.length).toBeGreaterThan(0)
    for (const { device } of cuda) expect(device).toMatch(/^cuda(:\d+)?$/)
    for (const { reason } of list) expect(reason).not.toBe('')
  })

  test('FEWBIT_ISA chooses a path, an option wins', () => {
    process.env.FEWBIT_ISA = 'portable'
    expect(choosePath()).toBe('portable')
    expect(devices().find(({ chosen }) => chosen)?.path).toBe('portable')
    process.env.FEWBIT_ISA = 'mmx'
    expect(choosePath('portable')).toBe('portable')
    expect(() => choosePath()).toThrow(/FEWBIT_ISA 'mmx' is not known; known are portable, avx2/)
    expect(devices().some(({ chosen }) => chosen)).toBe(false)
    expect(doctor().advice).toContainEqual(expect.stringContaining("FEWBIT_ISA 'mmx' is not known"))
  })

  test('advice tells a slow machine from a slow choice', () => {
    const portable = { name: 'portable' as const, built: true, runs: true, reason: 'plain C++' }
    const vector = { name: 'avx512vnni' as const, built: true, runs: true, reason: 'AVX-512 with VNNI' }
    const spy = jest.spyOn(addon, 'paths').mockReturnValue([portable, vector])
    const origins = jest.spyOn(addon, 'kernelOrigins').mockReturnValue({ linearCodes: 'avx512vnni', productSum: 'portable' })
    const advice = () => doctor().advice.filter((line) => /portable|plain C/.test(line))
    try {
      expect(advice()).toEqual([])
      origins.mockReturnValue({ linearCodes: 'portable', attentionCodes: 'avx512vnni', patchify: 'portable' })
      expect(advice()).toEqual([
        expect.stringMatching(/^The path avx512vnni has no kernels for patchify, linearCodes, which run in plain C\+\+/),
      ])
      process.env.FEWBIT_ISA = 'portable'
      expect(advice()).toEqual(['FEWBIT_ISA chooses portable, though avx512vnni runs here and is faster.'])
      spy.mockReturnValue([portable, { ...vector, runs: false }])
      expect(advice()).toEqual([expect.stringMatching(/^Only the portable path runs here/)])
    } finally {
      origins.mockRestore()
      spy.mockRestore()
    }
  })

  test('a path that does not run here says why', () => {
    const spy = jest.spyOn(addon, 'paths').mockReturnValue([
      { name: 'portable', built: true, runs: true, reason: 'plain C++' },
      { name: 'amx', built: true, runs: false, reason: 'the kernel refused AMX tile permission' },
    ])
    try {
      expect(() => choosePath('amx')).toThrow(/isa 'amx' does not run here: the kernel refused AMX tile permission/)
      expect(doctor().advice).toContainEqual(expect.stringContaining('falling back to portable'))
    } finally {
      spy.mockRestore()
    }
  })

  const a100 = { name: 'A100', capability: '8.0', memory: 2 ** 36, runs: true, reason: 'A100, compute capability 8.0' }
  const turing = { name: 'T4', capability: '7.5', memory: 2 ** 34, runs: false, reason: 'T4 has compute capability 7.5' }

  test('CUDA devices are chosen by number, and refused with the reason', () => {
    const spy = jest.spyOn(addon, 'cuda').mockReturnValue({ built: true, reason: '', devices: [turing, a100] })
    try {
      expect(chooseDevice('cuda:1')).toBe('cuda:1')
      expect(chooseDevice('auto')).toBe('cuda:1')
      expect(() => chooseDevice('cuda')).toThrow("device 'cuda' cannot be used: T4 has compute capability 7.5. Use 'cpu' or 'auto'.")
      expect(() => chooseDevice('cuda:2')).toThrow('there is no device 2, and 2 in all')
      expect(() => chooseDevice('tpu' as never)).toThrow(TypeError)
      expect(devices().slice(-2)).toEqual([
        { device: 'cuda:0', path: null, built: true, runs: false, chosen: false, reason: turing.reason },
        { device: 'cuda:1', path: null, built: true, runs: true, chosen: false, reason: a100.reason },
      ])
      expect(doctor().advice).toContainEqual('cuda:0 cannot be used: T4 has compute capability 7.5.')
    } finally {
      spy.mockRestore()
    }
  })

  test("'auto' without CUDA is the CPU, with one warning that says why", () => {
    const spy = jest.spyOn(addon, 'cuda').mockReturnValue({ built: false, reason: 'no NVIDIA driver is installed', devices: [] })
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {})
    try {
      expect(chooseDevice('cpu')).toBe('cpu')
      expect(warn).not.toHaveBeenCalled()
      for (let i = 0; i < 2; i++) expect(chooseDevice('auto')).toBe('cpu')
      expect(warn).toHaveBeenCalledTimes(1)
      expect(warn).toHaveBeenCalledWith('running on the CPU: no NVIDIA driver is installed', { code: 'FEWBIT_NO_CUDA' })
      expect(() => chooseDevice('cuda')).toThrow('no NVIDIA driver is installed')
      expect(devices().at(-1)).toMatchObject({ device: 'cuda', built: false, reason: 'no NVIDIA driver is installed' })
    } finally {
      warn.mockRestore()
      spy.mockRestore()
    }
  })

  test('doctor reports this installation', () => {
    const report = doctor()
    expect(report.node).toBe(process.versions.node)
    expect(report.addon.file).toMatch(/fewbit\.node$/)
    expect(report.addon.build).toContain('Node-API 8')
    expect(report.threads.threads).toBeGreaterThanOrEqual(1)
    expect(report.threads.reason).not.toBe('')
    expect(report.sharp).toMatch(/^\d+\.\d+/)
  })
})
