import type { Graph } from '../graph/graph.js'
import { DATA_TYPES, type OnnxBuilder, type OnnxTensor } from './builder.js'
import { INPUT, OUTPUT } from './export.js'
import { PROTO } from './proto.js'

/**
 * A translated graph as the bytes of an .onnx file.
 */

const IR_VERSION = 8
const OPSET = 17
const ATTRIBUTE_TYPES = { FLOAT: 1, INT: 2, INTS: 7 } as const
/** Of a protobuf message. */
const MOST_BYTES = 2 ** 31 - 1

/** @throws RangeError for a model that one protobuf file cannot hold */
export async function encodeOnnx(graph: Graph, { nodes, constants }: OnnxBuilder, version: string): Promise<Uint8Array> {
  const bytes = [...constants.values()].reduce((sum, { data }) => sum + data.byteLength, 0)
  if (bytes > MOST_BYTES) throw new RangeError(`the model has ${bytes} bytes of constants, and an ONNX file holds at most ${MOST_BYTES}`)
  const { parse } = (await import('protobufjs')).default
  const { channels, height, width } = imageOf(graph)
  const classes = graph.edges.get(graph.output)?.width
  const model = {
    irVersion: IR_VERSION,
    producerName: 'fewbit',
    producerVersion: version,
    opsetImport: [{ domain: '', version: OPSET }],
    graph: {
      name: graph.architecture,
      node: nodes.map(({ op, inputs, outputs, attributes }) => ({
        name: outputs[0],
        opType: op,
        input: inputs,
        output: outputs,
        attribute: Object.entries(attributes).map(([key, value]) => ({ name: key, ...value, type: ATTRIBUTE_TYPES[value.type] })),
      })),
      initializer: [...constants].map(([name, tensor]) => tensorProto(name, tensor)),
      input: [valueInfo(INPUT, [channels, height, width])],
      output: [valueInfo(OUTPUT, [classes as number])],
    },
  }
  const file = parse(PROTO).root.lookupType('onnx.ModelProto').encode(model).finish()
  return new Uint8Array(file.buffer, file.byteOffset, file.length) // no Buffer, whose slices are no copies
}

function imageOf(graph: Graph): { channels: number; height: number; width: number } {
  for (const node of graph.nodes) if (node.op === 'patchify' && node.input === graph.input) return node
  throw new Error('the graph does not read an image')
}

/** Numbers lie in memory as they do in the file: all processors that this runs on are little-endian. */
function tensorProto(name: string, { type, shape, data }: OnnxTensor) {
  const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return { name, dims: shape, dataType: DATA_TYPES[type], rawData }
}

function valueInfo(name: string, sizes: number[]) {
  const dim = [{ dimParam: 'batch' }, ...sizes.map((dimValue) => ({ dimValue }))]
  return { name, type: { tensorType: { elemType: DATA_TYPES.float, shape: { dim } } } }
}
