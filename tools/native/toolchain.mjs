// Prints what native builds depend on besides their sources: an input of the build cache.
import { findTools } from './preflight.mjs'

const { cmake, compiler } = await findTools()
console.log(process.platform, process.arch, cmake?.version ?? 'no cmake', compiler?.version ?? 'no compiler')
