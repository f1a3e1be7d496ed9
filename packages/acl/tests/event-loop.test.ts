import { expect, test } from 'vitest'
import { finiteInSteps, oneByOne } from '../src/checks/non-finite.js'
import { checkTensor } from '../src/checks/tensors.js'
import { Attention, pipelines } from '../src/index.js'
import { errorOf, expectTyped } from './support/errors.js'
import { fastestIsa } from './support/instruction-sets.js'
import { Random, shareOf } from './support/random.js'
import { tensor } from './support/tensors.js'

test.each(pipelines)('the event loop keeps turning while a %s run is under way', async (pipeline) => {
  const [length, heads] = [shareOf(3000), 6]
  const random = new Random(11)
  const draw = () => tensor('float32', [1, heads, length, 64], random.normals(heads * length * 64))
  const inputs = { query: draw(), key: draw(), value: draw() }
  using attention = new Attention({ pipeline, heads, headDim: 64, threads: 1, isa: fastestIsa })
  await attention.run(inputs)

  let turns = 0
  let running = true
  const turn = () => {
    turns++
    if (running) setImmediate(turn)
  }
  setImmediate(turn)
  await attention.run(inputs)
  running = false
  // A blocked loop would turn once or twice.
  expect(turns).toBeGreaterThan(20)
})

test('the search for the value that is not finite leaves the event loop its turns', async () => {
  const length = 5 * 2 ** 20
  const data = new Float32Array(length)
  data[length - 1] = Number.NaN
  const tensor = checkTensor({ type: 'float32', dims: [5, 2 ** 10, 2 ** 5, 2 ** 5], data }, 'value', ['float32'])
  let turns = 0
  let running = true
  const turn = () => {
    turns++
    if (running) setImmediate(turn)
  }
  setImmediate(turn)
  const error = await errorOf(() => oneByOne(finiteInSteps(tensor, 'int')))
  running = false
  expect(expectTyped(error, 'NON_FINITE', 'value').received).toContain(`element ${length - 1}`)
  expect(turns).toBeGreaterThanOrEqual(4)

  using attention = new Attention({ heads: 2 ** 10, headDim: 2 ** 5, threads: 2 })
  const dims = [5, 2 ** 10, 1, 2 ** 5]
  const query = { type: 'float32' as const, dims, data: new Float32Array(5 * 2 ** 15) }
  const key = { type: 'float32' as const, dims: tensor.dims, data: new Float32Array(length) }
  const value = { type: 'float32' as const, dims: tensor.dims, data }
  expectTyped(await errorOf(() => attention.run({ query, key, value })), 'NON_FINITE', 'value')
})
