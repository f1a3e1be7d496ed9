import type { Engine } from '../engines.js'
import { type ResolvedOptions, readOptions, resolveOptions } from '../options/options.js'
import { ReferenceSession } from '../reference/session.js'
import { createSession } from '../sessions/create-session.js'
import { checkProblem, type Problem } from '../sessions/problem.js'
import type { Session } from '../sessions/session.js'
import type { Tensor } from '../types.js'

const asked = readOptions({ heads: 2, kvHeads: 1, headDim: 72, causal: true, threads: 2 })

/** How far outputs may be apart, of the largest magnitude: the order of additions in float32. */
const tolerance = 1e-4

/** Lets an engine compute a small attention. What it has computed wrong, in words; undefined when all is as it should be. */
export function differenceFromReference(engine: Engine): string | undefined {
  const options = resolveOptions(asked, engine.name)
  const session = createSession(engine, options)
  const actual = solve(session, options)
  const expected = solve(new ReferenceSession(options), options)
  const { version: _, ...integers } = expected.intermediates!
  for (const [name, wanted] of Object.entries(integers)) {
    const given: Integers = Reflect.get(actual.intermediates!, name)
    const i = firstDifference(given, wanted, (a, b) => a === b)
    if (i >= 0) return `${name}[${i}] is ${given[i]}, expected ${wanted[i]}`
  }
  const [given, wanted] = [actual.output.data, expected.output.data]
  const allowed = tolerance * Math.max(...Array.from(wanted, Math.abs))
  const i = firstDifference(given, wanted, (a, b) => Math.abs(a - b) <= allowed)
  return i < 0 ? undefined : `output[${i}] is ${given[i]}, expected ${wanted[i]}`
}

function solve(session: Session, options: ResolvedOptions): Problem {
  const problem = checkProblem(
    options,
    {},
    {
      query: tensor(2, 9, options),
      key: tensor(1, 133, options),
      value: tensor(1, 133, options),
      intermediates: true,
    },
  )
  try {
    session.runSync(problem)
    return problem
  } finally {
    session.dispose()
  }
}

/** Numbers from -1 to 1 that look random. */
function tensor(heads: number, length: number, { headDim }: ResolvedOptions): Tensor {
  const data = Float32Array.from(
    { length: heads * length * headDim },
    (_, i) => Math.imul(i + length, 0x9e3779b1) / 2 ** 31,
  )
  return { type: 'float32', dims: [1, heads, length, headDim], data }
}

type Integers = ArrayLike<number | bigint>

/** Where two arrays differ first; -1 when nowhere. */
function firstDifference<T>(actual: ArrayLike<T>, expected: ArrayLike<T>, isSame: (a: T, b: T) => boolean): number {
  for (let i = 0; i < expected.length; i++) if (!isSame(actual[i]!, expected[i]!)) return i
  return -1
}
