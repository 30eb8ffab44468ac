/**
 * Reads .onnx files without a protobuf library, with the field numbers of onnx.proto (https://github.com/onnx/onnx).
 */

export interface OnnxTensor {
  name: string
  type: number
  shape: number[]
  raw: Uint8Array
}

export interface OnnxNode {
  name: string
  op: string
  inputs: string[]
  outputs: string[]
  attributes: Record<string, number | number[]>
}

export interface OnnxFile {
  irVersion: number
  producer: string
  opset: number
  domain: string
  nodes: OnnxNode[]
  constants: OnnxTensor[]
  /** Dimensions, names of free ones; element type. */
  inputs: { name: string; type: number; shape: (number | string)[] }[]
  outputs: { name: string; type: number; shape: (number | string)[] }[]
}

/** A message: the values of each field in order; numbers for varints and 4-byte floats, bytes for all else. */
type Message = Map<number, (number | Uint8Array)[]>

function readMessage(bytes: Uint8Array): Message {
  const message: Message = new Map()
  let at = 0
  const varint = (): number => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return Number(BigInt.asIntN(64, value))
    }
  }
  while (at < bytes.length) {
    const key = varint()
    const values = message.get(key >> 3) ?? []
    message.set(key >> 3, values)
    switch (key & 7) {
      case 0:
        values.push(varint())
        break
      case 2: {
        const length = varint()
        values.push(bytes.subarray(at, at + length))
        at += length
        break
      }
      case 5:
        values.push(new DataView(bytes.buffer, bytes.byteOffset + at, 4).getFloat32(0, true))
        at += 4
        break
      default:
        throw new Error(`wire type ${key & 7} at byte ${at}`)
    }
  }
  if (at !== bytes.length) throw new Error('a field reaches beyond its message')
  return message
}

const numbers = (message: Message, field: number): number[] => (message.get(field) ?? []).map(Number)
const messages = (message: Message, field: number): Message[] => (message.get(field) ?? []).map((part) => readMessage(part as Uint8Array))
const texts = (message: Message, field: number): string[] =>
  (message.get(field) ?? []).map((part) => new TextDecoder().decode(part as Uint8Array))

export function readOnnx(bytes: Uint8Array): OnnxFile {
  const model = readMessage(bytes)
  const [graph] = messages(model, 7)
  const [opset] = messages(model, 8)
  return {
    irVersion: numbers(model, 1)[0],
    producer: texts(model, 2)[0],
    domain: texts(opset, 1)[0] ?? '',
    opset: numbers(opset, 2)[0],
    nodes: messages(graph, 1).map(readNode),
    constants: messages(graph, 5).map((tensor) => ({
      shape: numbers(tensor, 1),
      type: numbers(tensor, 2)[0],
      name: texts(tensor, 8)[0],
      raw: new Uint8Array((tensor.get(9) as Uint8Array[])[0]),
    })),
    inputs: messages(graph, 11).map(readValue),
    outputs: messages(graph, 12).map(readValue),
  }
}

function readNode(node: Message): OnnxNode {
  const attributes: OnnxNode['attributes'] = {}
  for (const attribute of messages(node, 5)) {
    const [name] = texts(attribute, 1)
    const [type] = numbers(attribute, 20)
    attributes[name] = type === 1 ? numbers(attribute, 2)[0] : type === 2 ? numbers(attribute, 3)[0] : numbers(attribute, 8)
  }
  return { inputs: texts(node, 1), outputs: texts(node, 2), name: texts(node, 3)[0], op: texts(node, 4)[0], attributes }
}

function readValue(value: Message): OnnxFile['inputs'][number] {
  const [tensor] = messages(messages(value, 2)[0], 1)
  const [shape] = messages(tensor, 2)
  return {
    name: texts(value, 1)[0],
    type: numbers(tensor, 1)[0],
    shape: messages(shape, 1).map((dimension) => texts(dimension, 2)[0] ?? numbers(dimension, 1)[0]),
  }
}
