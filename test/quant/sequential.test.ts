import { breather } from '../../lib/codes/breathe.js'
import type { Code, WeightCode } from '../../lib/graph/scheme.js'
import { drift } from '../../lib/quant/bias.js'
import { columnImportance } from '../../lib/quant/choose.js'
import { observe } from '../../lib/quant/observe.js'
import { findOperands, type LinearNode } from '../../lib/quant/operands.js'
import type { Part } from '../../lib/quant/parts.js'
import type { RowSensitivity } from '../../lib/quant/row-sensitivity.js'
import { quantizeInSequence } from '../../lib/quant/sequential.js'
import { unpackWeight } from '../../lib/runtime/blobs.js'
import { nearestLevel } from '../support/coded-reference.js'
import { normals } from '../support/random.js'
import { runReference } from '../support/reference.js'
import { isRounded } from '../support/rounded.js'
import { smallVit } from '../support/small-vit.js'

const IMAGES = 6

const breathe = breather()

/** The small model with 3 bits for weights and 4 for activations. */
async function inSequence(without: Part[] = [], rowSensitivity: RowSensitivity = new Map()) {
  const graph = await smallVit()
  const { rows, width } = graph.edges.get(graph.input) as { rows: number; width: number }
  const calibration = { pixels: normals(3, IMAGES * rows * width), images: IMAGES }
  const operands = findOperands(graph)
  const { observations } = await observe(graph, operands.activations, calibration)
  const choice = {
    coverage: 'partial' as const,
    bits: (name: string) => (name.endsWith('weight') ? 3 : 4),
    without: new Set(without),
    streamRows: new Map(),
    rowSensitivity,
    importance: (operand: Parameters<typeof columnImportance>[1]) =>
      columnImportance(graph, operand, () => new Float64Array(operand.width).fill(1)),
  }
  const quantized = await quantizeInSequence(graph, operands, observations, choice, calibration, breathe, {})
  return { graph, operands, pixels: calibration.pixels, rows, width, quantized: quantized.graph, scheme: quantized.scheme }
}

it('gives every operand its width, and a layer on coded inputs the mean output that the float weight would have on them, but for their drift', async () => {
  const { graph, operands, pixels, rows, width, quantized, scheme } = await inSequence()
  for (const { name } of operands.weights) expect(scheme.weights.get(name)?.bits).toBe(3)
  for (const { name } of operands.activations) expect(scheme.edges.get(name)?.bits).toBe(4)

  // The patch embedding, whose inputs nothing has changed yet.
  const node = quantized.nodes.find(({ name }) => name === 'patch_embedding') as LinearNode
  const code = scheme.weights.get(node.weight) as NonNullable<ReturnType<typeof scheme.weights.get>>
  const input = scheme.edges.get(node.input) as NonNullable<ReturnType<typeof scheme.edges.get>>
  const levels = unpackWeight(code.packed, code.outputs, code.inputs, code.bits)
  const bias = quantized.constants.get(node.bias as string)?.data as Float32Array
  const weight = graph.constants.get(node.weight)?.data as Float32Array
  const floatBias = graph.constants.get((graph.nodes.find(({ name }) => name === node.name) as LinearNode).bias as string)
    ?.data as Float32Array
  const exact: number[] = []
  for (let b = 0; b < IMAGES; b++) {
    const edges = runReference(graph, pixels.subarray(b * rows * width, (b + 1) * rows * width))
    exact.push(...(edges.get(node.input) as { data: Float64Array }).data)
  }
  const coded = exact.map((x) => nearestLevel(input, x) * input.step)
  const drifted = await drift(Float32Array.from(exact), Float32Array.from(coded), code.inputs, IMAGES, breathe)
  for (let o = 0; o < code.outputs; o++) {
    let difference = bias[o] - floatBias[o]
    for (let i = 0; i < code.inputs; i++) difference += weight[o * code.inputs + i] * drifted[i]
    coded.forEach((y, at) => {
      const i = o * code.inputs + (at % code.inputs)
      difference += ((levels[i] * code.steps[o] - weight[i]) * y * code.inputs) / coded.length
    })
    expect(Math.abs(difference)).toBeLessThan(1e-4)
  }
})

it('errs less on rows that count more', async () => {
  const name = 'patch_embedding'
  /** Squared error of the patch embedding on the rows of every other image. */
  const errorWith = async (rowSensitivity: RowSensitivity) => {
    const { graph, pixels, rows, width, quantized, scheme } = await inSequence([], rowSensitivity)
    const linear = (of: typeof graph) => of.nodes.find((node) => node.name === name) as LinearNode
    const { weight, input } = linear(graph)
    const { packed, outputs, inputs, bits, steps } = scheme.weights.get(weight) as WeightCode
    const levels = unpackWeight(packed, outputs, inputs, bits)
    const exact = graph.constants.get(weight)?.data as Float32Array
    const [bias, floatBias] = [quantized, graph].map((of) => of.constants.get(linear(of).bias as string)?.data as Float32Array)
    const code = scheme.edges.get(input) as Code
    let sum = 0
    for (let b = 0; b < IMAGES; b += 2) {
      const x = (runReference(graph, pixels.subarray(b * rows * width, (b + 1) * rows * width)).get(input) as { data: Float64Array }).data
      for (let t = 0; t < x.length; t += inputs)
        for (let o = 0; o < outputs; o++) {
          let error = bias[o] - floatBias[o]
          for (let i = 0; i < inputs; i++) {
            const w = o * inputs + i
            error += levels[w] * steps[o] * nearestLevel(code, x[t + i]) * code.step - exact[w] * x[t + i]
          }
          sum += error ** 2
        }
    }
    return sum
  }
  const graph = await smallVit()
  const { input } = graph.nodes.find((node) => node.name === name) as LinearNode
  const { rows } = graph.edges.get(input) as { rows: number }
  const favouring = (odd: number) =>
    Float32Array.from({ length: IMAGES * rows }, (_, t) => (Math.floor(t / rows) % 2 === odd ? 1.99 : 0.01))
  const [even, odd] = [await errorWith(new Map([[input, favouring(0)]])), await errorWith(new Map([[input, favouring(1)]]))]
  expect(even).toBeLessThan(0.8 * odd)
})

it('moves weights off their nearest levels to make up for errors, and without refit and compensation leaves them there', async () => {
  const rounded = async (without: Part[]) => {
    const { graph, scheme } = await inSequence(without)
    return isRounded(graph, scheme)
  }
  expect(await rounded(['refit', 'compensation'])).toBe(true)
  expect(await rounded(['refit'])).toBe(false)
  expect(await rounded(['compensation'])).toBe(false)
})

it('changes gamma and beta of every LayerNorm, and without norms none', async () => {
  const changed = async (without: Part[]) => {
    const { graph, quantized } = await inSequence(without)
    const norms = graph.nodes.filter((node) => node.op === 'layernorm')
    const same = (name: string) => quantized.constants.get(name) === graph.constants.get(name)
    return norms.map(({ gamma, beta }) => !same(gamma) && !same(beta))
  }
  expect(new Set(await changed([]))).toEqual(new Set([true]))
  expect(new Set(await changed(['norms']))).toEqual(new Set([false]))
})
