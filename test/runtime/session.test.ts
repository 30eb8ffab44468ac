import addon from '#addon'
import type { Plan } from '../../lib/runtime/addon-types.js'
import { Session } from '../../lib/runtime/session.js'
import { quantile, turnsDuring } from '../support/turns.js'
import { heavyPlan, randomInput, tokensPlan } from './plans.js'

const runningPaths = addon
  .paths()
  .filter(({ runs }) => runs)
  .map(({ name }) => name)

const zeros = (plan: Plan, images: number) => new Float32Array((images * plan.inputBytes) / 4)

/** The reason why a promise is rejected. */
const rejection = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => Promise.reject(new Error('resolved')),
    (reason) => reason,
  )

describe.each(runningPaths)('results on %s', (path) => {
  test('are what the sums in doubles give, for full and partial passes', async () => {
    const { plan, expected } = tokensPlan({ batch: 2 })
    const session = new Session(plan, { path })
    const images = 5
    const input = randomInput(plan, images)
    const output = await session.run(input, images)
    const [inputs, outputs] = [plan.inputBytes / 4, plan.outputBytes / 4]
    expect(output).toHaveLength(images * outputs)
    for (let b = 0; b < images; b++) {
      expected(input.subarray(b * inputs, (b + 1) * inputs)).forEach((y, i) => expect(output[b * outputs + i]).toBeCloseTo(y, 4))
    }
    session.dispose()
  })

  test('have the same bits for any number of threads and any batch', async () => {
    const size = { rows: 130, inputs: 40, width: 150 }
    const images = 7
    const input = randomInput(tokensPlan(size).plan, images)
    const run = async (batch: number, threads: number) => {
      using session = new Session(tokensPlan({ ...size, batch }).plan, { path, threads })
      return Buffer.from((await session.run(input, images)).buffer)
    }
    const first = await run(1, 1)
    for (const batch of [1, 2, 5]) for (const threads of [1, 2, 3]) expect((await run(batch, threads)).equals(first)).toBe(true)
  })
})

test('paths agree', async () => {
  const { plan } = tokensPlan({ rows: 50, inputs: 33, width: 70 })
  const input = randomInput(plan, 3)
  const outputs = await Promise.all(runningPaths.map((path) => new Session(plan, { path }).run(input, 3)))
  for (const output of outputs) output.forEach((y, i) => expect(Math.abs(y - outputs[0][i])).toBeLessThan(1e-4))
})

test('a profile has the time of each op, and the same output', async () => {
  const { plan } = tokensPlan({ batch: 2 })
  using session = new Session(plan)
  const input = randomInput(plan, 5)
  const start = performance.now()
  const { times, output } = await session.profile(input, 5)
  const all = 1e6 * (performance.now() - start)
  expect(times.map(({ op, name }) => `${name}: ${op}`)).toEqual(['prefix: copyRows', 'embed: linearF32', 'norm: layernorm'])
  for (const { nanoseconds } of times) expect(nanoseconds).toBeGreaterThanOrEqual(0)
  const sum = times.reduce((total, { nanoseconds }) => total + nanoseconds, 0)
  expect(sum).toBeGreaterThan(0)
  expect(sum).toBeLessThanOrEqual(all)
  expect(output).toEqual(await session.run(input, 5))
  expect((await session.profile(new Float32Array(0), 0)).times.map(({ nanoseconds }) => nanoseconds)).toEqual([0, 0, 0])
})

test('no room for times is refused', () => {
  const { plan } = tokensPlan({ batch: 2 })
  const native = addon.createSession(plan, '', 1)
  const run = (nanoseconds: Float64Array) =>
    native.run(randomInput(plan, 1), new Float32Array(plan.outputBytes / 4), 1, 1, nanoseconds, null, () => {})
  expect(() => run(new Float64Array(2))).toThrow('nanoseconds has 16 bytes, 3 ops need 8 each')
  expect(() => run(new Float32Array(3) as never)).toThrow('nanoseconds must be a Float64Array')
})

test('no images', async () => {
  expect(await new Session(tokensPlan().plan).run(new Float32Array(0), 0)).toHaveLength(0)
})

test('runs of all sessions are executed in the order of the calls', async () => {
  const plan = heavyPlan()
  const sessions = [new Session(plan), new Session(plan)]
  const order: number[] = []
  await Promise.all(
    [0, 1, 2, 3, 4, 5].map(async (i) => {
      // The earlier, the longer.
      await sessions[i % 2].run(zeros(plan, 6 - i), 6 - i)
      order.push(i)
    }),
  )
  expect(order).toEqual([0, 1, 2, 3, 4, 5])
})

test('progress grows and ends with all images', async () => {
  const plan = heavyPlan({ batch: 3 })
  const seen: number[] = []
  // On one thread passes are batches; several share what is left over in smaller ones.
  await new Session(plan, { threads: 1 }).run(zeros(plan, 200), 200, { onProgress: (images) => seen.push(images) })
  expect(seen.at(-1)).toBe(200)
  expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b))
  seen.slice(0, -1).forEach((images) => expect(images % 3 === 0 || images === 200).toBe(true))
})

describe('abort', () => {
  const plan = heavyPlan()
  const images = 3000
  const input = zeros(plan, images)

  test('before the call', async () => {
    const reason = new Error('never mind')
    await expect(new Session(plan).run(input, images, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  test('of a queued and of a running run', async () => {
    const session = new Session(plan)
    const [first, second] = [new AbortController(), new AbortController()]
    let progress = 0
    const running = session.run(input, images, {
      signal: first.signal,
      onProgress: (done) => {
        progress = done
        first.abort('enough')
      },
    })
    const queued = session.run(input, images, { signal: second.signal })
    const last = session.run(input.subarray(0, plan.inputBytes / 4), 1)
    second.abort('not this one')
    // Answered while the first one is running.
    expect(await rejection(queued)).toBe('not this one')
    expect(await rejection(running)).toBe('enough')
    expect(progress).toBeLessThan(images)
    expect(await last).toHaveLength(plan.outputBytes / 4)
    session.dispose()
  })

  test('leaves no listener behind', async () => {
    const controller = new AbortController()
    const added = jest.spyOn(controller.signal, 'addEventListener')
    const removed = jest.spyOn(controller.signal, 'removeEventListener')
    await new Session(plan).run(input.subarray(0, plan.inputBytes / 4), 1, { signal: controller.signal })
    expect(added).toHaveBeenCalledTimes(1)
    expect(removed).toHaveBeenCalledWith('abort', added.mock.calls[0][1])
    controller.abort()
  })

  test('by an exception in onProgress', async () => {
    const error = new Error('broken bar')
    const onProgress = () => {
      throw error
    }
    expect(await rejection(new Session(plan).run(input, images, { onProgress }))).toBe(error)
  })
})

describe('dispose', () => {
  test('is idempotent and refuses runs', async () => {
    const { plan } = tokensPlan()
    const session = new Session(plan)
    await session.run(randomInput(plan, 1), 1)
    session.dispose()
    session.dispose()
    await expect(session.run(randomInput(plan, 1), 1)).rejects.toThrow('the session was disposed')
  })

  test('rejects what runs and what waits', async () => {
    const plan = heavyPlan()
    const session = new Session(plan)
    const input = zeros(plan, 3000)
    const runs: Promise<Error>[] = []
    await new Promise<void>((resolve) => {
      runs.push(rejection(session.run(input, 3000, { onProgress: () => resolve() })))
      runs.push(rejection(session.run(input, 3000)))
    })
    session.dispose()
    for (const error of await Promise.all(runs)) expect(error.message).toBe('the session was disposed')
  })
})

test('the event loop goes on during a run', async () => {
  const plan = heavyPlan({ batch: 8, rows: 197 })
  const input = zeros(plan, 200)
  const session = new Session(plan, { threads: 1 })
  const turns = await turnsDuring(() => session.run(input, 200))
  expect(turns.length).toBeGreaterThan(5)
  expect(quantile(turns, 0.99)).toBeLessThan(20)
})

describe('the input is copied', () => {
  /** More floats than one slice of the copy. */
  const LONG = 3 << 20
  const plan = heavyPlan({ rows: 1, width: 64, layers: 1 })
  const images = LONG / 64

  test('from shared and resizable memory too', async () => {
    const { plan } = tokensPlan()
    const session = new Session(plan)
    const input = randomInput(plan, 2)
    const wanted = await session.run(input, 2)
    const Resizable = ArrayBuffer as unknown as new (length: number, options: { maxByteLength: number }) => ArrayBuffer
    for (const buffer of [new SharedArrayBuffer(280), new Resizable(280, { maxByteLength: 560 })]) {
      const other = new Float32Array(buffer, 0, 70)
      other.set(input)
      expect(await session.run(other, 2)).toEqual(wanted)
    }
  })

  test('in slices: a transfer before the last one is an error, after which runs go on', async () => {
    const session = new Session(plan)
    const input = new Float32Array(LONG)
    const run = rejection(session.run(input, images))
    structuredClone(input.buffer, { transfer: [input.buffer] })
    expect((await run).message).toMatch(/the input was transferred/)
    expect(await session.run(new Float32Array(64), 1)).toHaveLength(64)
  })

  test('in the order of the calls, short and lent ones too', async () => {
    const session = new Session(plan)
    const order: number[] = []
    const run = async (count: number, lent = false) => {
      await session.run(new Float32Array(count * 64), count, { lent })
      order.push(count)
    }
    await Promise.all([run(images), run(1), run(images - 1), run(2), run(3, true), run(4)])
    expect(order).toEqual([images, 1, images - 1, 2, 3, 4])
  })

  test('once for each of several runs of a session', async () => {
    const { plan, expected } = tokensPlan()
    const session = new Session(plan)
    const inputs = [1, 2, 3].map((seed) => randomInput(plan, 1, seed))
    const outputs = await Promise.all(inputs.map((input) => session.run(input, 1)))
    outputs.forEach((output, i) => expected(inputs[i]).forEach((y, j) => expect(output[j]).toBeCloseTo(y, 4)))
  })

  test('and an abort ends the copy', async () => {
    const controller = new AbortController()
    const run = rejection(new Session(plan).run(new Float32Array(LONG), images, { signal: controller.signal }))
    controller.abort('enough')
    expect(await run).toBe('enough')
  })
})

test('a lent input is read where it is, when its turn comes', async () => {
  const { plan, expected } = tokensPlan()
  using session = new Session(plan)
  const heavy = heavyPlan({ batch: 8, rows: 197 })
  const first = new Session(heavy, { threads: 1 }).run(zeros(heavy, 50), 50, { lent: true })
  const input = randomInput(plan, 1, 1)
  const run = session.run(input, 1, { lent: true })
  // The run before is still at work: what a copy would not know is seen.
  input.set(randomInput(plan, 1, 2))
  const [output] = await Promise.all([run, first])
  expected(input).forEach((y, j) => expect(output[j]).toBeCloseTo(y, 4))
})

describe('bad arguments', () => {
  const { plan } = tokensPlan()
  const session = new Session(plan)
  const good = randomInput(plan, 2)

  test.each<[string, () => unknown, RegExp]>([
    ['threads of a session', () => new Session(plan, { threads: 0 }), /threads must be an integer from 1 to 256, not 0/],
    ['too short input', () => session.run(good, 3), /input has 70 values, 3 images need 3 x 35/],
    ['too long input', () => session.run(good, 1), /input has 70 values/],
    ['another array', () => session.run(new Float64Array(70) as never, 2), /must be a Float32Array/],
    ['images', () => session.run(good, 1.5), /images must be an integer, not 1.5/],
    ['threads of a run', () => session.run(good, 2, { threads: 257 }), /threads must be an integer/],
    [
      'a value that is not a number',
      () =>
        session.run(
          good.map((x, i) => (i === 38 ? Number.NaN : x)),
          2,
        ),
      /not finite: image 1 has NaN at value 3/,
    ],
    [
      'an infinite value',
      () =>
        session.run(
          good.map((x, i) => (i === 5 ? Number.NEGATIVE_INFINITY : x)),
          2,
        ),
      /image 0 has -Infinity at value 5/,
    ],
    ['path', () => new Session(plan, { path: 'sse2' }), /isa 'sse2' is not known; known are portable/],
  ])('%s', async (_, call, message) => {
    const error = await rejection((async () => call())())
    expect(error.message).toMatch(message)
    expect(error).toBeInstanceOf(Error)
  })

  test('detached buffer', () => {
    const input = new Float32Array(70)
    structuredClone(input.buffer, { transfer: [input.buffer] })
    const native = addon.createSession(plan, '', 1)
    expect(() => native.run(input, new Float32Array(1000), 2, 1, null, null, () => {})).toThrow(/input is detached/)
  })
})
