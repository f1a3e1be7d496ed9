import { spawn } from 'node:child_process'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { isRunning } from '../temporary.mjs'
import { temporary } from './support/checkout.mjs'

const contender = fileURLToPath(new URL('support/contender.mjs', import.meta.url))

/** A number that no process has. */
function dead() {
  for (let number = 30_000; ; number += 1) if (!isRunning(number)) return number
}

/** @param {string} directory @param {string} [patience] */
function contend(directory, patience = '0') {
  const child = spawn(process.execPath, [contender, directory, patience], { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.on('data', (data) => {
    said += data
  })
  const ready = new Promise((resolve) => child.stdout.once('data', resolve))
  const ended = new Promise((resolve) => child.on('close', () => resolve(said.trim().split('\n').at(-1))))
  return { ready, ended }
}

test('of many processes that find the lock of a dead one, one at a time gets it', async () => {
  for (let round = 0; round < 12; round += 1) {
    const directory = temporary()
    writeFileSync(path.join(directory, 'lock'), `${dead()}`)
    const contenders = Array.from({ length: 6 }, () => contend(directory))
    await Promise.all(contenders.map(({ ready }) => ready))
    writeFileSync(path.join(directory, 'go'), '')
    const ends = await Promise.all(contenders.map(({ ended }) => ended))
    expect(ends).not.toContain('not alone')
    expect(ends).toContain('alone')
    expect(readdirSync(directory)).toEqual(['go'])
  }
})

test('with patience, all of them get it, one after the other', async () => {
  const directory = temporary()
  writeFileSync(path.join(directory, 'go'), '')
  const contenders = Array.from({ length: 3 }, () => contend(directory, '60'))
  expect(await Promise.all(contenders.map(({ ended }) => ended))).toEqual(['alone', 'alone', 'alone'])
})

test('the right to take over, left by a process that ended, is named', async () => {
  const directory = temporary()
  for (const name of ['lock', 'lock.takeover']) writeFileSync(path.join(directory, name), `${dead()}`)
  writeFileSync(path.join(directory, 'go'), '')
  expect(await contend(directory).ended).toContain(`remove ${path.join(directory, 'lock.takeover')}`)
  expect(existsSync(path.join(directory, 'lock'))).toBe(true)
})
