import { types } from 'node:util'

/** Arrays the kernels read and write. */
export type NumericArray = Float32Array | Uint16Array | Int8Array | Uint8Array

// The intrinsic getters tell the truth about arrays of other realms, of subclasses, and with shadowed properties.
const typedArrayPrototype: object = Object.getPrototypeOf(Uint8Array.prototype)
const intrinsic = (name: string | symbol) => Object.getOwnPropertyDescriptor(typedArrayPrototype, name)!.get!
const getName = intrinsic(Symbol.toStringTag)
const getLength = intrinsic('length')
const getByteOffset = intrinsic('byteOffset')
const getBuffer = intrinsic('buffer')

/** `Float32Array`, `Uint16Array`, …; undefined when `value` is no typed array. */
export const arrayName = (value: unknown): string | undefined => getName.call(value)

/** Elements in view now: 0 when the buffer is detached or has shrunk away under the view. */
export const arrayLength = (array: ArrayBufferView): number => getLength.call(array)

export const arrayBuffer = (array: ArrayBufferView): ArrayBufferLike => getBuffer.call(array)

/** False for the bytes of a SharedArrayBuffer, which never detach or shrink. */
export function isDetached(array: ArrayBufferView): boolean {
  const buffer = arrayBuffer(array)
  if (types.isSharedArrayBuffer(buffer) || buffer.byteLength > 0) return false
  try {
    new Uint8Array(buffer)
    return false
  } catch {
    return true
  }
}

/** Whether memory under the array can be unmapped while a kernel reads it: a buffer that can shrink. */
export function canShrink(array: ArrayBufferView): boolean {
  const buffer = arrayBuffer(array)
  return !types.isSharedArrayBuffer(buffer) && Reflect.get(ArrayBuffer.prototype, 'resizable', buffer) === true
}

/** A plain view of fixed length on the same bytes: 16-bit floats as their bits, and nothing that tracks a growing buffer. */
export function fixedView(array: ArrayBufferView): NumericArray {
  const [buffer, offset, length] = [arrayBuffer(array), getByteOffset.call(array), arrayLength(array)]
  switch (arrayName(array)) {
    case 'Float32Array':
      return new Float32Array(buffer, offset, length)
    case 'Int8Array':
      return new Int8Array(buffer, offset, length)
    case 'Uint8Array':
      return new Uint8Array(buffer, offset, length)
    default:
      return new Uint16Array(buffer, offset, length)
  }
}
