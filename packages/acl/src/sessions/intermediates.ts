import { scaleCount } from '../checks/scopes.js'
import { allocate, type CheckedTensor } from '../checks/tensors.js'
import type { BlockOptions } from '../options/block-options.js'
import type { QuantizedOptions } from '../options/index-options.js'
import type { BlockIntermediates, IndexIntermediates, Pipeline } from '../types.js'

/** Keys that share an exponent in version 2. */
export const blockLength = 64

/** What {@link BlockIntermediates} holds where there is nothing: a dead block, a block without a value exponent. */
export const absent = { blockExponent: -1, valueExponent: -128 } as const

type Tensors = Record<'query' | 'key' | 'value', CheckedTensor>

const make = <T>(create: new (length: number) => T, length: number) => allocate(create, length, 'intermediates')
const count = ({ dims }: CheckedTensor, axes: number) => dims.slice(0, axes).reduce((product, dim) => product * dim, 1)

export function allocateIndexIntermediates(
  { pipeline, quantization }: QuantizedOptions & { pipeline: Pipeline },
  { query, key, value }: Tensors,
): IndexIntermediates {
  const rows = count(query, 3)
  const keyLength = key.dims[2]
  const quantized: IndexIntermediates = {
    version: 1,
    queryInt8: make(Int8Array, count(query, 4)),
    keyInt8: make(Int8Array, count(key, 4)),
    valueInt8: make(Int8Array, count(value, 4)),
    queryScale: make(Float32Array, scaleCount(quantization.query, query.dims)),
    keyScale: make(Float32Array, scaleCount(quantization.key, key.dims)),
    valueScale: make(Float32Array, scaleCount(quantization.value, value.dims)),
    valueCenter: make(Float32Array, count(value, 2) * value.dims[3]),
    scores: make(Int32Array, rows * keyLength),
  }
  if (pipeline !== 'int') return quantized
  return {
    ...quantized,
    probabilities: make(Uint8Array, rows * keyLength),
    rowSum: make(Uint32Array, rows),
    lost: make(Int32Array, rows),
  }
}

export function allocateBlockIntermediates(
  { queryBits }: BlockOptions,
  { query, key, value }: Tensors,
): BlockIntermediates {
  const rows = count(query, 3)
  const keys = count(key, 3)
  const keyLength = key.dims[2]
  const blocks = Math.ceil(keyLength / blockLength)
  return {
    version: 2,
    queryInt: make<Int8Array | Int16Array>(
      queryBits === 15 && query.type !== 'int8' ? Int16Array : Int8Array,
      count(query, 4),
    ),
    keyInt8: make(Int8Array, count(key, 4)),
    valueInt8: make(Int8Array, count(value, 4)),
    queryScale: make(Float32Array, rows),
    keyScale: make(Float32Array, keys),
    valueScale: make(Float32Array, keys),
    keyOffset: make(Float32Array, count(key, 2) * key.dims[3]),
    valueOffset: make(Float32Array, count(value, 2) * value.dims[3]),
    unit: make(Float32Array, rows),
    scores: make(Int32Array, rows * keyLength),
    distance: make(Uint16Array, rows * keyLength).fill(65535),
    weight: make(Uint16Array, rows * keyLength),
    folded: make(Uint16Array, rows * keyLength),
    plane: make(Uint16Array, rows * keyLength),
    blockExponent: make(Int8Array, rows * blocks).fill(absent.blockExponent),
    blockSum: make(Uint32Array, rows * blocks),
    valueExponent: make(Int8Array, rows * blocks).fill(absent.valueExponent),
    shift: make(Uint8Array, rows * blocks),
    rowSum: make(BigUint64Array, rows),
  }
}
