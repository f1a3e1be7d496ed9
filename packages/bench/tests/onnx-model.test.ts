import protobuf from 'protobufjs/light.js'
import { describe, expect, it } from 'vitest'
import { multiHeadAttentionModel } from '../src/peers/onnx-model.js'

const options = { batch: 2, heads: 3, queryLength: 4, keyLength: 5, headDim: 6, causal: true, softmaxScale: 0.25 }

type Field = number | Uint8Array

/** The fields of one message on the wire, without a schema. */
function fields(bytes: Uint8Array): Map<number, Field[]> {
  const reader = protobuf.Reader.create(bytes)
  const found = new Map<number, Field[]>()
  while (reader.pos < reader.len) {
    const tag = reader.uint32()
    const wire = tag & 7
    const value = wire === 0 ? Number(reader.uint64()) : wire === 5 ? reader.float() : reader.bytes()
    found.set(tag >>> 3, [...(found.get(tag >>> 3) ?? []), value])
  }
  return found
}

const message = (value: Field | undefined) => fields(value as Uint8Array)
const text = (value: Field | undefined) => new TextDecoder().decode(value as Uint8Array)

describe('multiHeadAttentionModel', () => {
  // Field numbers as in onnx.proto.
  const model = fields(multiHeadAttentionModel(options))
  const graph = message(model.get(7)?.[0])

  it('states the IR version and the operator sets', () => {
    expect(model.get(1)).toEqual([8])
    const sets = model
      .get(8)!
      .map((set) => [text(message(set).get(1)?.[0] ?? new Uint8Array(0)), message(set).get(2)?.[0]])
    expect(sets).toEqual([
      ['', 17],
      ['com.microsoft', 1],
    ])
  })

  it('has one node with its attributes', () => {
    expect(graph.get(1)!.length).toBe(1)
    const node = message(graph.get(1)?.[0])
    expect(node.get(1)!.map(text)).toEqual(['query', 'key', 'value'])
    expect(node.get(2)!.map(text)).toEqual(['output'])
    expect(text(node.get(4)?.[0])).toBe('MultiHeadAttention')
    expect(text(node.get(7)?.[0])).toBe('com.microsoft')
    const attributes = node.get(5)!.map((attribute) => {
      const { 1: name, 2: f, 3: i, 20: type } = Object.fromEntries(message(attribute))
      return { name: text(name?.[0]), type: type?.[0], value: (i ?? f)?.[0] }
    })
    expect(attributes).toEqual([
      { name: 'num_heads', type: 2, value: 3 },
      { name: 'scale', type: 1, value: 0.25 },
      { name: 'unidirectional', type: 2, value: 1 },
    ])
  })

  it('declares float32 inputs and output with their shapes', () => {
    const declared = [...graph.get(11)!, ...graph.get(12)!].map((value) => {
      const tensor = message(message(message(value).get(2)?.[0]).get(1)?.[0])
      const dims = message(tensor.get(2)?.[0]).get(1)!
      return [text(message(value).get(1)?.[0]), tensor.get(1)?.[0], dims.map((dim) => message(dim).get(1)?.[0])]
    })
    expect(declared).toEqual([
      ['query', 1, [2, 4, 18]],
      ['key', 1, [2, 5, 18]],
      ['value', 1, [2, 5, 18]],
      ['output', 1, [2, 4, 18]],
    ])
  })
})
