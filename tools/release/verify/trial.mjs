// Runs in an empty project where @intattn/acl was installed: every engine that is there computes attention, which is compared with
// float64. Prints the facts as JSON.
import { createRequire } from 'node:module'
import { Attention, engines, float64Attention } from '@intattn/acl'

const required = createRequire(import.meta.url)('@intattn/acl')
if (required.Attention !== Attention) throw new Error("require('@intattn/acl') gives something else than import")

const [batch, heads, length, headDim] = [1, 2, 300, 64]
/** @type {[number, number, number, number]} */
const dims = [batch, heads, length, headDim]
let state = 1
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return state / 2 ** 31 - 1
}
const tensor = () => ({
  type: /** @type {const} */ ('float32'),
  dims,
  data: Float32Array.from({ length: batch * heads * length * headDim }, random),
})
const inputs = { query: tensor(), key: tensor(), value: tensor() }
const exact = float64Attention({ ...inputs, causal: true })

const found = engines()
const results = []
for (const { name, available, instructionSets } of found) {
  if (!available) continue
  const isas = instructionSets.filter((set) => set.available).map((set) => set.name)
  for (const isa of isas.length ? isas : [undefined]) {
    const attention = new Attention({ engine: name, ...(isa && { isa }), heads, headDim, causal: true, threads: 2 })
    const { output } = await attention.run(inputs)
    attention.dispose()
    let [error, norm] = [0, 0]
    output.data.forEach((value, i) => {
      error += (value - exact[i]) ** 2
      norm += exact[i] ** 2
    })
    results.push({ engine: name, isa, error: Math.sqrt(error / norm) })
  }
}
console.log(JSON.stringify({ node: process.version, platform: `${process.platform}-${process.arch}`, found, results }))
