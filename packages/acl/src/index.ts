/**
 * Integer attention on CPUs: {@link Attention} with its four pipelines, the steps it is made of ({@link quantize},
 * {@link indexSoftmax}), and what it can run on ({@link engines}).
 *
 * @packageDocumentation
 */
export { Attention } from './attention.js'
export { bfloat16Bits, bfloat16Value } from './bfloat16.js'
export type { ResolvedCacheOptions } from './cache/options.js'
export type { Dims, Scope } from './checks/scopes.js'
export type { AddonReport, DefaultReport, DoctorReport, PlaceReport, ProbeVerdict } from './doctor/report.js'
export { engines } from './engines.js'
export { type ErrorCode, type ErrorDetails, IntAttnError, LoaderError, type LoaderErrorDetails } from './errors.js'
export { float16Bits, float16Value } from './float16.js'
export { type Float64AttentionInputs, float64Attention } from './float64-attention.js'
export {
  type IndexSoftmaxOptions,
  type IndexSoftmaxResult,
  indexParameters,
  indexSoftmax,
  weightTable,
} from './index-softmax.js'
export { KvCache } from './kv-cache.js'
export type { ResolvedOptions } from './options/options.js'
export { defaultPreset } from './options/presets.js'
export { type QuantizeOptions, type QuantizeResult, quantize } from './quantize.js'
export type { IndexParameters, WeightTable } from './reference/index-softmax.js'
export { type AvailableResources, availableResources } from './resources/resources.js'
export * from './types.js'
