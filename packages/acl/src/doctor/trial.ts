import type { Engine } from '../engines.js'
import { NativeSession } from '../native-session.js'
import { readOptions, resolveOptions } from '../options.js'
import { checkProblem, type Problem } from '../problem.js'
import { ReferenceSession } from '../reference/session.js'
import type { Session } from '../session.js'
import type { Tensor } from '../types.js'

const options = resolveOptions(readOptions({ heads: 2, kvHeads: 1, headDim: 72, causal: true, threads: 2 }))

/** How far outputs may be apart, of the largest magnitude: the order of additions in float32. */
const tolerance = 1e-4

/** Lets an engine compute a small attention. What it has computed wrong, in words; undefined when all is as it should be. */
export function differenceFromReference(engine: Engine): string | undefined {
  const actual = solve(engine.name === 'reference' ? new ReferenceSession(options) : new NativeSession(engine, options))
  const expected = solve(new ReferenceSession(options))
  for (const [name, integers] of Object.entries(expected.intermediates ?? {})) {
    const difference = firstDifference(Reflect.get(actual.intermediates ?? {}, name), integers, 0)
    if (difference) return `${name}${difference}`
  }
  const difference = firstDifference(actual.output.data, expected.output.data, tolerance)
  return difference && `output${difference}`
}

function solve(session: Session): Problem {
  const problem = checkProblem(
    options,
    {},
    { query: tensor(2, 9), key: tensor(1, 133), value: tensor(1, 133), intermediates: true },
  )
  try {
    session.runSync(problem)
    return problem
  } finally {
    session.dispose()
  }
}

/** Numbers from -1 to 1 that look random. */
function tensor(heads: number, length: number): Tensor {
  const { headDim } = options
  const data = Float32Array.from(
    { length: heads * length * headDim },
    (_, i) => Math.imul(i + length, 0x9e3779b1) / 2 ** 31,
  )
  return { type: 'float32', dims: [1, heads, length, headDim], data }
}

function firstDifference(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): string | undefined {
  const allowed = tolerance * Math.max(...Array.from(expected, Math.abs))
  for (let i = 0; i < expected.length; i++) {
    if (!(Math.abs(actual[i]! - expected[i]!) <= allowed)) return `[${i}] is ${actual[i]}, expected ${expected[i]}`
  }
  return undefined
}
