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

/** TensorProto.DataType.FLOAT */
const FLOAT = 1

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
  const tensor = (name: string, length: number) => {
    const dim = [batch, length, heads * headDim].map((dimValue) => ({ dimValue }))
    return { name, type: { tensorType: { elemType: FLOAT, shape: { dim } } } }
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
          opType: 'MultiHeadAttention',
          domain: 'com.microsoft',
          input: ['query', 'key', 'value'],
          output: ['output'],
          attribute: [
            { name: 'num_heads', type: 'INT', i: heads },
            { name: 'scale', type: 'FLOAT', f: softmaxScale },
            { name: 'unidirectional', type: 'INT', i: causal ? 1 : 0 },
          ],
        },
      ],
      input: [tensor('query', queryLength), tensor('key', keyLength), tensor('value', keyLength)],
      output: [tensor('output', queryLength)],
    },
  })
  return model.encode(message).finish()
}
