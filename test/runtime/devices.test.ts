import addon from '#addon'
import { choosePath, devices, doctor } from '../../lib/runtime/devices.js'

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
    expect(list.map(({ path }) => path)).toEqual(['portable', 'avx2', 'avxvnni', 'avx512vnni', 'amx', null])
    expect(list.filter(({ chosen }) => chosen)).toHaveLength(1)
    expect(list.find(({ chosen }) => chosen)).toBe(list.findLast(({ runs }) => runs))
    expect(list.at(-1)).toMatchObject({ device: 'cuda', built: false, runs: false, chosen: false })
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
