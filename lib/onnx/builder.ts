/**
 * An ONNX graph while it is written: nodes in the order in which they run, constants by name. Tensors are known by their names.
 */

/** TensorProto.DataType. */
export const DATA_TYPES = { float: 1, uint8: 2, int8: 3, int64: 7 } as const
export type DataType = keyof typeof DATA_TYPES

export type Attribute = { type: 'INT'; i: number } | { type: 'FLOAT'; f: number } | { type: 'INTS'; ints: number[] }

/** Named by its first output. */
export interface OnnxNode {
  op: string
  inputs: string[]
  outputs: string[]
  attributes: Record<string, Attribute>
}

export interface OnnxTensor {
  type: DataType
  shape: number[]
  data: Float32Array | Uint8Array | Int8Array | BigInt64Array
}

export const int = (i: number): Attribute => ({ type: 'INT', i })
export const float = (f: number): Attribute => ({ type: 'FLOAT', f })
export const ints = (...values: number[]): Attribute => ({ type: 'INTS', ints: values })

export class OnnxBuilder {
  readonly nodes: OnnxNode[] = []
  readonly constants = new Map<string, OnnxTensor>()
  private readonly taken: Set<string>

  /** @param reserved names that no node's output and no constant gets unless it asks for them with {@link node}'s `output` */
  constructor(reserved: string[]) {
    this.taken = new Set(reserved)
  }

  /**
   * @param name of its output, as far as it is free
   * @returns the name of its output
   */
  node(op: string, name: string, inputs: string[], attributes: OnnxNode['attributes'] = {}, output = this.free(name)): string {
    this.nodes.push({ op, inputs, outputs: [output], attributes })
    return output
  }

  /** A node with several outputs, called by `name` and their endings. */
  nodeOf(op: string, name: string, inputs: string[], attributes: OnnxNode['attributes'], endings: string[]): string[] {
    const outputs = endings.map((ending) => this.free(`${name}.${ending}`))
    this.nodes.push({ op, inputs, outputs, attributes })
    return outputs
  }

  constant(name: string, tensor: OnnxTensor): string {
    const free = this.free(name)
    this.constants.set(free, tensor)
    return free
  }

  floats(name: string, shape: number[], data: Float32Array): string {
    return this.constant(name, { type: 'float', shape, data })
  }

  /** Scalars are shared by all who need them. */
  scalar(value: number): string {
    const name = `scalar ${value}`
    this.constants.set(name, { type: 'float', shape: [], data: Float32Array.of(value) })
    return name
  }

  /** A list of integers, shared by all who need it. */
  list(values: readonly number[]): string {
    const name = `list ${values.join(' ')}`
    this.constants.set(name, { type: 'int64', shape: [values.length], data: BigInt64Array.from(values, BigInt) })
    return name
  }

  private free(name: string): string {
    let free = name
    for (let i = 2; this.taken.has(free); i++) free = `${name} ${i}`
    this.taken.add(free)
    return free
  }
}
