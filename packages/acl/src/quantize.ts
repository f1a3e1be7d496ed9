import { callAddon } from './addons/call.js'
import { scopeCode } from './addons/interface.js'
import { boolean, integer, oneOf, record } from './checks/checks.js'
import { plain } from './checks/dense.js'
import { requireFinite, tooWide } from './checks/non-finite.js'
import { type Scope, scaleCount } from './checks/scopes.js'
import { allocate, checkTensor } from './checks/tensors.js'
import { chooseStepEngine } from './engines.js'
import { maxHeadDim } from './options/common-options.js'
import { toFloat32 } from './reference/float-tensors.js'
import { quantizeReference } from './reference/quantize.js'
import type { InstructionSet, StepEngineName, Tensor } from './types.js'

/** What {@link quantize} takes. */
export interface QuantizeOptions {
  /** float32, float16 or bfloat16, [batch, heads, length, headDim] */
  values: Tensor
  /** Which values share one scale. */
  scope: Scope
  /** Subtract each (batch, head, channel)'s mean over `length` first. Default false. */
  center?: boolean
  /** As for {@link Attention}. */
  engine?: StepEngineName
  isa?: InstructionSet
}

/** What {@link quantize} gives. */
export interface QuantizeResult {
  /** Same shape as the values, -127 … 127. */
  quantized: Int8Array
  /** Real value = scale * integer (+ mean). `tensor`: [1], `head`: [batch, heads], `row`: [.., length], `channel`: [.., headDim]. */
  scale: Float32Array
  /** [batch, heads, headDim]; with `center`. */
  mean?: Float32Array
}

/**
 * Symmetric int8 quantization, section 1 of the numeric specification; on the calling thread.
 *
 * @throws {@link IntAttnError}
 */
export function quantize(given: QuantizeOptions): QuantizeResult {
  const options = record(given, 'options', ['values', 'scope', 'center', 'engine', 'isa'])
  const values = plain(checkTensor(options.values, 'values', ['float32', 'float16', 'bfloat16']))
  const { dims } = values
  integer(dims[3], 'values.dims[3]', 1, maxHeadDim)
  const scope = oneOf<Scope>(options.scope, 'scope', ['tensor', 'head', 'row', 'channel'])
  const center = options.center !== undefined && boolean(options.center, 'center')
  const engine = chooseStepEngine(options.engine, options.isa)

  if (engine.name === 'reference') {
    requireFinite(values, 'fp32')
    const problem = { argument: 'values', values: toFloat32(values), dims, scope, center }
    const { quantized, scale, mean } = quantizeReference(problem)
    return center ? { quantized, scale, mean } : { quantized, scale }
  }
  const quantized = allocate(Int8Array, values.data.length, 'values')
  const scale = allocate(Float32Array, scaleCount(scope, dims), 'scope')
  const mean = center ? allocate(Float32Array, dims[0] * dims[1] * dims[3], 'center') : undefined
  const native = { scope: scopeCode(scope), isa: engine.isa }
  if (!callAddon('inputs', () => engine.addon.quantize(values.data, dims, quantized, scale, mean, native))) {
    requireFinite(values, 'fp32')
    tooWide('values')
  }
  return mean ? { quantized, scale, mean } : { quantized, scale }
}
