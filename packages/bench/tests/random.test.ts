import { describe, expect, it } from 'vitest'
import { Random } from '../src/random.js'

const draw = (count: number, next: () => number) => Array.from({ length: count }, next)

describe('Random', () => {
  // Values of an independent implementation of splitmix32 and xoshiro128**.
  it.each([
    [0, [1789933344, 44971166, 2521387044, 3848737593]],
    [1, [393288148, 2174103013, 3814759091, 2092745082]],
    [4294967295, [4104197751, 1825856343, 1152209388, 2427537429]],
  ])('draws the known integers from seed %i', (seed, expected) => {
    const random = new Random(seed)
    expect(draw(4, () => random.uint32())).toEqual(expected)
  })

  it('draws the known normals', () => {
    const random = new Random(1)
    const expected = [
      -0.4219232706535274, 1.58409270212488, 0.43666702696343557, 0.14492877468545254, -1.4569167422632916,
      -0.1107948538413285,
    ]
    const normals = draw(6, () => random.normal())
    for (const [i, value] of expected.entries()) expect(normals[i]).toBeCloseTo(value, 14)
  })

  it('has the moments of the standard normal distribution', () => {
    const random = new Random(7)
    const normals = draw(200_000, () => random.normal())
    const moment = (power: number) => normals.reduce((sum, x) => sum + x ** power, 0) / normals.length
    expect(Math.abs(moment(1))).toBeLessThan(0.01)
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.02)
    expect(Math.abs(moment(3))).toBeLessThan(0.05)
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.1)
  })

  it('keeps uniform numbers in [0, 1)', () => {
    const random = new Random(3)
    const uniforms = draw(100_000, () => random.uniform())
    expect(uniforms.every((x) => x >= 0 && x < 1)).toBe(true)
    expect(uniforms.reduce((sum, x) => sum + x, 0) / uniforms.length).toBeCloseTo(0.5, 2)
  })

  it('shuffles without loss, into every order', () => {
    const random = new Random(5)
    const seen = new Map<string, number>()
    for (let i = 0; i < 6000; i++) {
      const order = random.shuffle([1, 2, 3]).join('')
      seen.set(order, (seen.get(order) ?? 0) + 1)
    }
    expect([...seen.keys()].sort()).toEqual(['123', '132', '213', '231', '312', '321'])
    for (const count of seen.values()) expect(Math.abs(count - 1000)).toBeLessThan(150)
  })
})
