// Prints what native builds depend on besides their sources: an input of the build cache.
import { describeTools } from './preflight.mjs'

console.log(process.platform, process.arch, ...(await describeTools()))
