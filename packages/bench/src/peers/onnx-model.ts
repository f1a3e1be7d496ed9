import protobuf from 'protobufjs/light.js'

/** The few messages of onnx.proto, with its field numbers, that one operator node needs. */
const schema = protobuf.Root.fromJSON({
  nested: {
    ModelProto: {
      fields: {
        irVersion: { type: 'int64', id: 1 },
        producerName: { type: 'string', id: 2 },
        graph: { type: 'GraphProto', id: 7 },
        opsetImport: { rule: 'repeated', type: 'OperatorSetIdProto', id: 8 },
      },
    },
    OperatorSetIdProto: { fields: { domain: { type: 'string', id: 1 }, version: { type: 'int64', id: 2 } } },
    GraphProto: {
      fields: {
        node: { rule: 'repeated', type: 'NodeProto', id: 1 },
        name: { type: 'string', id: 2 },
        input: { rule: 'repeated', type: 'ValueInfoProto', id: 11 },
        output: { rule: 'repeated', type: 'ValueInfoProto', id: 12 },
      },
    },
    NodeProto: {
      fields: {
        input: { rule: 'repeated', type: 'string', id: 1 },
        output: { rule: 'repeated', type: 'string', id: 2 },
        opType: { type: 'string', id: 4 },
        attribute: { rule: 'repeated', type: 'AttributeProto', id: 5 },
        domain: { type: 'string', id: 7 },
      },
    },
    AttributeProto: {
      fields: {
        name: { type: 'string', id: 1 },
        f: { type: 'float', id: 2 },
        i: { type: 'int64', id: 3 },
        type: { type: 'AttributeType', id: 20 },
      },
      nested: { AttributeType: { values: { UNDEFINED: 0, FLOAT: 1, INT: 2 } } },
    },
    ValueInfoProto: { fields: { name: { type: 'string', id: 1 }, type: { type: 'TypeProto', id: 2 } } },
    TypeProto: {
      fields: { tensorType: { type: 'Tensor', id: 1 } },
      nested: {
        Tensor: { fields: { elemType: { type: 'int32', id: 1 }, shape: { type: 'TensorShapeProto', id: 2 } } },
      },
    },
    TensorShapeProto: {
      fields: { dim: { rule: 'repeated', type: 'Dimension', id: 1 } },
      nested: { Dimension: { fields: { dimValue: { type: 'int64', id: 1 } } } },
    },
  },
})

/** TensorProto.DataType */
const FLOAT = 1
const INT32 = 6

interface OperatorTensor {
  name: string
  elemType?: number
  dims: number[]
}

interface Operator {
  opType: string
  inputs: OperatorTensor[]
  outputs: OperatorTensor[]
  /** Whole numbers and one scale. */
  attributes: { [name: string]: number }
}

/** A serialized model of one `com.microsoft` node. */
function operatorModel({ opType, inputs, outputs, attributes }: Operator): Uint8Array {
  const tensor = ({ name, elemType = FLOAT, dims }: OperatorTensor) => {
    const dim = dims.map((dimValue) => ({ dimValue }))
    return { name, type: { tensorType: { elemType, shape: { dim } } } }
  }
  const model = schema.lookupType('ModelProto')
  const message = model.fromObject({
    irVersion: 8,
    producerName: '@intattn/bench',
    opsetImport: [
      { domain: '', version: 17 },
      { domain: 'com.microsoft', version: 1 },
    ],
    graph: {
      name: 'attention',
      node: [
        {
          opType,
          domain: 'com.microsoft',
          input: inputs.map(({ name }) => name),
          output: outputs.map(({ name }) => name),
          attribute: Object.entries(attributes).map(([name, number]) =>
            name === 'scale' ? { name, type: 'FLOAT', f: number } : { name, type: 'INT', i: number },
          ),
        },
      ],
      input: inputs.map(tensor),
      output: outputs.map(tensor),
    },
  })
  return model.encode(message).finish()
}

/** What `com.microsoft.MultiHeadAttention` computes: every query head has its own key head. */
export interface MultiHeadAttention {
  batch: number
  heads: number
  queryLength: number
  keyLength: number
  headDim: number
  causal: boolean
  softmaxScale: number
}

/**
 * An ONNX model, serialized, of one `com.microsoft.MultiHeadAttention` node in float32: inputs `query`
 * [batch, queryLength, heads * headDim], `key` and `value` [batch, keyLength, heads * headDim], output `output`.
 */
export function multiHeadAttentionModel(options: MultiHeadAttention): Uint8Array {
  const { batch, heads, queryLength, keyLength, headDim, causal, softmaxScale } = options
  const tensor = (name: string, length: number) => ({ name, dims: [batch, length, heads * headDim] })
  return operatorModel({
    opType: 'MultiHeadAttention',
    inputs: [tensor('query', queryLength), tensor('key', keyLength), tensor('value', keyLength)],
    outputs: [tensor('output', queryLength)],
    attributes: { num_heads: heads, scale: softmaxScale, unidirectional: causal ? 1 : 0 },
  })
}

/** What `com.microsoft.GroupQueryAttention` computes with one new token. */
export interface GroupQueryAttention {
  batch: number
  heads: number
  kvHeads: number
  /** Keys, the new token's among them. */
  keyLength: number
  headDim: number
  /** Keys that the token sees; default: all. */
  window?: number
  softmaxScale: number
}

/**
 * An ONNX model, serialized, of one `com.microsoft.GroupQueryAttention` node in float32 with one query and a cache: inputs `query`
 * [batch, 1, heads * headDim], `key` and `value` [batch, 1, kvHeads * headDim], `past_key` and `past_value`
 * [batch, kvHeads, keyLength, headDim], int32 `seqlens_k` [batch] (keys less one) and `total_sequence_length` [1]; outputs `output`,
 * `present_key` and `present_value`.
 */
export function groupQueryAttentionModel(options: GroupQueryAttention): Uint8Array {
  const { batch, heads, kvHeads, keyLength, headDim, window, softmaxScale } = options
  const row = (name: string, count: number) => ({ name, dims: [batch, 1, count * headDim] })
  const cache = (name: string) => ({ name, dims: [batch, kvHeads, keyLength, headDim] })
  return operatorModel({
    opType: 'GroupQueryAttention',
    inputs: [
      row('query', heads),
      row('key', kvHeads),
      row('value', kvHeads),
      cache('past_key'),
      cache('past_value'),
      { name: 'seqlens_k', elemType: INT32, dims: [batch] },
      { name: 'total_sequence_length', elemType: INT32, dims: [1] },
    ],
    outputs: [row('output', heads), cache('present_key'), cache('present_value')],
    attributes: {
      num_heads: heads,
      kv_num_heads: kvHeads,
      scale: softmaxScale,
      ...(window !== undefined && { local_window_size: window }),
    },
  })
}
