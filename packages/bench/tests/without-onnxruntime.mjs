// Preloaded with `node --import`: makes a machine on which onnxruntime-node is not installed.
import { register } from 'node:module'

const hooks = `export function resolve(specifier, context, next) {
  if (!specifier.includes('onnxruntime-node')) return next(specifier, context)
  throw Object.assign(new Error("Cannot find package 'onnxruntime-node'"), { code: 'ERR_MODULE_NOT_FOUND' })
}`
register(`data:text/javascript,${encodeURIComponent(hooks)}`)
