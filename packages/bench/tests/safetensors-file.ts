import type { ByteSource } from '../src/random-access-file.js'

/** One tensor to be written. */
export interface TensorSpec {
  dtype: string
  shape: number[]
  bytes: Uint8Array
}

/** Header and data in one: whatever they are, right or wrong. */
export function fileOf(header: unknown, data: Uint8Array = new Uint8Array(0)): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([length, text, data])
}

/** A sound safetensors file. */
export function safetensorsFile(tensors: Record<string, TensorSpec>, metadata?: Record<string, string>): Buffer {
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {}
  let end = 0
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.byteLength] }
    end += bytes.byteLength
  }
  return fileOf(header, Buffer.concat(Object.values(tensors).map(({ bytes }) => bytes)))
}

/** A float32 tensor. */
export function float32Tensor(shape: number[], at: (index: number) => number): TensorSpec {
  const data = Float32Array.from({ length: shape.reduce((product, length) => product * length, 1) }, (_, i) => at(i))
  return { dtype: 'F32', shape, bytes: new Uint8Array(data.buffer) }
}

/** A file in memory. */
export function inMemory(file: Uint8Array): ByteSource {
  return {
    byteLength: file.byteLength,
    read(into, position) {
      if (position + into.byteLength > file.byteLength) throw new RangeError('read beyond the end')
      into.set(file.subarray(position, position + into.byteLength))
    },
  }
}
