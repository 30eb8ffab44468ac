import { breather } from '../codes/breathe.js'
import type { Observation } from '../codes/observation.js'
import { eigen, multiply, power, transpose } from '../codes/symmetric.js'
import type { Graph, Node } from '../graph/graph.js'
import { type AttentionNode, scalesOf } from '../graph/windows.js'
import { correctBias } from './bias.js'
import { type Calibration, observe, type RunOptions } from './observe.js'
import { findOperands, type LinearNode, tensorOf } from './operands.js'
import { eachQuery, type Query, softmaxOf } from './queries.js'
import { orthogonal } from './rotate.js'

/**
 * Free bases of the heads of attention: with any invertible T for each head
 *
 *   (Q T) (K T^-T)^T = Q K^T,   (P (V T)) (W T^-T)^T = (P V) W^T,
 *
 * T moves into the layers around, and the float model computes what it did. Codes of one step make an error of equal size e in every column, which
 * costs e^2 tr(M^-1 B) with M = T T^T and B the second moments of what the columns are multiplied with, while e^2 grows with the variance of the columns,
 * tr(M A) when all have an equal share. The product is least, by Cauchy and Schwarz, for
 *
 *   M = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2,   tr(M A) tr(M^-1 B) = tr((A^1/2 B A^1/2)^1/2)^2,
 *
 * and T = M^1/2 U H / s gives columns of equal variance: U are the eigenvectors of the columns' second moments, H is a Hadamard matrix (another
 * orthogonal one where there is none), and s makes all heads equally large.
 *
 * Keys and values lose their mean: a constant added to all keys moves all logits of a query alike, which softmax does not see; what the
 * mean of values adds to the output is constant, since softmax sums to 1, and moves into a bias.
 *
 * Softmax minds an error of a logit as much as the weight it gives, so that for queries and keys A and B are the mean of two matrices: the plain second
 * moments, which say how far a code has to reach, and those of what is attended to, which say what an error costs. Either alone is worse.
 *
 * The derivation is ours; its diagonal case is SmoothQuant's, its orthogonal one QuaRot's.
 */

/** Added to the diagonals of second moments, as a fraction of their mean: directions which calibration hardly saw. */
const DAMPING = 1e-3
/** How much of the error of a value is left behind softmax, which averages over tokens, about. */
const AVERAGED = 0.25

interface Attention {
  node: AttentionNode
  query: LinearNode
  key: LinearNode
  value: LinearNode
  projection: LinearNode
}

/** @returns a graph that computes the same; attention between other nodes than linear layers of its own stays as it is */
export async function transformHeads(float: Graph, calibration: Calibration, options: RunOptions = {}): Promise<Graph> {
  const graph: Graph = { ...float, constants: new Map(float.constants), nodes: float.nodes.map((node) => ({ ...node })) }
  const attentions = graph.nodes.flatMap((node) => (node.op === 'attention' ? (surroundings(graph, node) ?? []) : []))
  const edges = new Set(attentions.flatMap(({ node: { q, k, v, output } }) => [q, k, v, output]))
  const operands = findOperands(float).activations.filter(({ name }) => edges.has(name))
  const { observations } = await observe(float, operands, calibration, options)
  const breathe = breather(options.signal)
  const attended = new Map(attentions.map(({ node }) => [node.name, new Attended(node, float)]))
  const visit = (node: AttentionNode, query: Query) => attended.get(node.name)?.add(query)
  const nodes = attentions.map(({ node }) => node)
  await eachQuery(float, nodes, calibration, visit, breathe, options)
  for (const attention of attentions) {
    const { q, k, v, output } = attention.node
    const [query, key, value, mixed] = [q, k, v, output].map((edge) => observations.get(edge) as Observation)
    await transformLogits(graph, attention, query, key, attended.get(attention.node.name) as Attended, breathe)
    await transformValues(graph, attention, value, mixed, breathe)
  }
  return graph
}

function surroundings(graph: Graph, node: AttentionNode): Attention | null {
  const producers = [node.q, node.k, node.v].map((edge) => {
    const readers = graph.nodes.filter((reader) => readsEdge(reader, edge))
    return readers.length === 1
      ? graph.nodes.find((other): other is LinearNode => other.op === 'linear' && other.output === edge)
      : undefined
  })
  const [projection, ...others] = graph.nodes.filter((reader) => readsEdge(reader, node.output))
  if (projection?.op !== 'linear' || others.length > 0) return null
  const [query, key, value] = producers
  return query && key && value && new Set(producers).size === 3 ? { node, query, key, value, projection } : null
}

function readsEdge(node: Node, edge: string): boolean {
  return Object.entries(node).some(([field, value]) => value === edge && field !== 'output' && field !== 'name')
}

type Breathe = ReturnType<typeof breather>

/** The lower triangle of sum += weight x x^T. */
function addSquare(sum: Float64Array, weight: number, x: Float64Array): void {
  const width = x.length
  for (let i = 0; i < width; i++) {
    const scaled = weight * x[i]
    for (let j = 0; j <= i; j++) sum[i * width + j] += scaled * x[j]
  }
}

async function transformLogits(
  graph: Graph,
  { node, query, key }: Attention,
  queries: Observation,
  keys: Observation,
  attended: Attended,
  breathe: Breathe,
): Promise<void> {
  const width = queries.width / node.heads
  const scales = [...scalesOf(node)]
  const [forQueries, forKeys]: Float64Array[][] = [[], []]
  for (let head = 0; head < node.heads; head++) {
    const a = await moments(queries, head * width, width, null, breathe)
    const b = await moments(keys, head * width, width, keys.mean, breathe)
    const costs = attended.moments(head)
    const { basis, inverse } = await balance(mean(a, costs.queries, width), mean(b, costs.keys, width), width, breathe)
    const [q, k] = [normalise(basis, a, width), normalise(transpose(inverse, width), b, width)]
    forQueries.push(q.basis)
    forKeys.push(k.basis)
    scales[head] *= q.size * k.size
    await breathe()
  }
  const target = graph.nodes.find(({ name }) => name === node.name) as AttentionNode
  target.scale = scales
  transformOutputs(graph, query, forQueries, null)
  transformOutputs(graph, key, forKeys, keys.mean)
}

async function transformValues(
  graph: Graph,
  { node, value, projection }: Attention,
  values: Observation,
  mixed: Observation,
  breathe: Breathe,
): Promise<void> {
  const width = values.width / node.heads
  const weight = tensorOf(graph, projection.weight)
  const [outputs, inputs] = weight.shape
  const [forValues, forWeight]: Float64Array[][] = [[], []]
  const rows = { samples: weight.data, width: inputs }
  for (let head = 0; head < node.heads; head++) {
    const a = await moments(mixed, head * width, width, values.mean, breathe)
    const spread = await moments(values, head * width, width, values.mean, breathe)
    for (let i = 0; i < a.length; i++) a[i] += AVERAGED * spread[i]
    const b = await moments(rows, head * width, width, null, breathe)
    const { basis, inverse } = await balance(a, b, width, breathe)
    const { basis: scaled, size } = normalise(basis, a, width)
    forValues.push(scaled)
    forWeight.push(transpose(inverse, width).map((x) => x * size))
    await breathe()
  }
  // P V = P (V - mean) + mean
  const constant = new Float64Array(outputs)
  for (let i = 0; i < weight.data.length; i++) constant[Math.floor(i / inputs)] -= weight.data[i] * values.mean[i % inputs]
  correctBias(graph, graph, projection, constant)
  transformOutputs(graph, value, forValues, values.mean)
  const transformed = new Float32Array(weight.data.length)
  for (let o = 0; o < outputs; o++) transformRow(weight.data.subarray(o * inputs), transformed.subarray(o * inputs), forWeight, width)
  graph.constants.set(projection.weight, { shape: weight.shape, data: transformed })
}

/** Second moments of `width` columns, damped. */
async function moments(
  { samples, width: stride }: Pick<Observation, 'samples' | 'width'>,
  first: number,
  width: number,
  mean: Float64Array | null,
  breathe: Breathe,
): Promise<Float64Array> {
  const sum = new Float64Array(width * width)
  const x = new Float64Array(width)
  const rows = samples.length / stride
  for (let t = 0; t < rows; t++) {
    for (let i = 0; i < width; i++) x[i] = samples[t * stride + first + i] - (mean ? mean[first + i] : 0)
    for (let i = 0; i < width; i++) for (let j = 0; j <= i; j++) sum[i * width + j] += (x[i] * x[j]) / rows
    if (t % 16 === 0) await breathe()
  }
  return completed(sum, width)
}

/** The upper triangle of a symmetric matrix from the lower one; damped. */
function completed(sum: Float64Array, width: number): Float64Array {
  const damping = (DAMPING * trace(sum, width)) / width || 1
  for (let i = 0; i < width; i++) {
    for (let j = 0; j < i; j++) sum[j * width + i] = sum[i * width + j]
    sum[i * width + i] += damping
  }
  return sum
}

/** Of two matrices as if they had the same trace. */
function mean(a: Float64Array, b: Float64Array, n: number): Float64Array {
  const [ofA, ofB] = [trace(a, n), trace(b, n)]
  return a.map((x, i) => x / ofA + b[i] / ofB)
}

/**
 * Second moments weighed by softmax P: of keys around the mean key that a query attends to, and of queries by how much their softmax can change,
 * 1 - sum P^2.
 */
class Attended {
  private readonly width: number
  private readonly heads: { queries: Float64Array; keys: Float64Array }[]
  private readonly row: Float64Array
  /** Keys of the image at hand, and where the channels of each begin how much it is attended to by all queries. */
  private k: Float32Array = new Float32Array(0)
  private attention = new Float64Array(0)

  constructor({ heads, q }: AttentionNode, graph: Graph) {
    this.width = (graph.edges.get(q)?.width as number) / heads
    this.row = new Float64Array(this.width)
    const zeros = () => new Float64Array(this.width ** 2)
    this.heads = Array.from({ length: heads }, () => ({ queries: zeros(), keys: zeros() }))
  }

  /** sum P (k - mean) (k - mean)^T = sum P k k^T - mean mean^T, and the first sum of all queries needs one product a key. */
  add({ head, q, k, at, keys, logits }: Query): void {
    if (this.k !== k) this.finish(k)
    const { queries, keys: moments } = this.heads[head]
    const p = softmaxOf(logits)
    const { row, width } = this
    row.fill(0)
    let squares = 0
    for (let s = 0; s < p.length; s++) {
      const key = keys[s]
      squares += p[s] ** 2
      this.attention[key] += p[s]
      for (let c = 0; c < width; c++) row[c] += p[s] * k[key + c]
    }
    addSquare(moments, -1, row)
    for (let c = 0; c < width; c++) row[c] = q[at + c]
    addSquare(queries, 1 - squares, row)
  }

  /** The image at hand is done. */
  private finish(next: Float32Array): void {
    const { k, attention, row, width, heads } = this
    for (let key = 0; key < k.length; key += width) {
      for (let c = 0; c < width; c++) row[c] = k[key + c]
      addSquare(heads[(key / width) % heads.length].keys, attention[key], row)
    }
    this.k = next
    this.attention = new Float64Array(next.length)
  }

  moments(head: number): { queries: Float64Array; keys: Float64Array } {
    this.finish(new Float32Array(0))
    const { queries, keys } = this.heads[head]
    return { queries: completed(queries, this.width), keys: completed(keys, this.width) }
  }
}

function trace(a: Float64Array, n: number): number {
  let sum = 0
  for (let i = 0; i < n; i++) sum += a[i * n + i]
  return sum
}

/** T = M^1/2 U H and its inverse. */
async function balance(
  a: Float64Array,
  b: Float64Array,
  n: number,
  breathe: Breathe,
): Promise<{ basis: Float64Array; inverse: Float64Array }> {
  const root = power(a, n, 0.5)
  const inverseRoot = power(a, n, -0.5)
  const middle = power(multiply(multiply(root, b, n), root, n), n, 0.5)
  const m = multiply(multiply(inverseRoot, middle, n), inverseRoot, n)
  const half = power(m, n, 0.5)
  const turned = multiply(eigen(multiply(multiply(half, a, n), half, n), n).vectors, await spreading(n, breathe), n)
  return { basis: multiply(half, turned, n), inverse: multiply(transpose(turned, n), power(m, n, -0.5), n) }
}

/** Divided by the root mean square of the columns. */
function normalise(basis: Float64Array, second: Float64Array, n: number): { basis: Float64Array; size: number } {
  const size = Math.sqrt(trace(multiply(multiply(transpose(basis, n), second, n), basis, n), n) / n)
  return { basis: basis.map((x) => x / size), size }
}

/** An orthogonal matrix whose entries are all equally large, where there is one of this order by Sylvester's construction. */
async function spreading(n: number, breathe: Breathe): Promise<Float64Array> {
  if (!Number.isInteger(Math.log2(n))) return Float64Array.from((await orthogonal(n, 0, breathe)).data)
  const parity = (x: number): number => (x === 0 ? 0 : (x & 1) ^ parity(x >> 1))
  return Float64Array.from({ length: n * n }, (_, i) => (parity(Math.floor(i / n) & (i % n)) ? -1 : 1) / Math.sqrt(n))
}

/** Each head of the outputs times its matrix, after the mean is subtracted. */
function transformOutputs(graph: Graph, node: LinearNode, bases: Float64Array[], mean: Float64Array | null): void {
  const { shape, data } = tensorOf(graph, node.weight)
  const [outputs, inputs] = shape
  const width = outputs / bases.length
  const weight = new Float32Array(data.length)
  const column = new Float32Array(outputs)
  const result = new Float32Array(outputs)
  for (let i = 0; i < inputs; i++) {
    for (let o = 0; o < outputs; o++) column[o] = data[o * inputs + i]
    transformRow(column, result, bases, width)
    for (let o = 0; o < outputs; o++) weight[o * inputs + i] = result[o]
  }
  const bias = node.bias === null ? new Float32Array(outputs) : tensorOf(graph, node.bias).data
  const moved = new Float32Array(outputs)
  transformRow(
    bias.map((b, o) => b - (mean ? mean[o] : 0)),
    moved,
    bases,
    width,
  )
  const target = graph.nodes.find((other): other is LinearNode => other.name === node.name) as LinearNode
  target.bias ??= `${node.name}.bias`
  graph.constants.set(node.weight, { shape, data: weight })
  graph.constants.set(target.bias, { shape: [outputs], data: moved })
}

/** Each head of a row times its matrix. */
function transformRow(row: Float32Array, target: Float32Array, bases: Float64Array[], width: number): void {
  bases.forEach((basis, head) => {
    for (let j = 0; j < width; j++) {
      let sum = 0
      for (let i = 0; i < width; i++) sum += row[head * width + i] * basis[i * width + j]
      target[head * width + j] = sum
    }
  })
}
