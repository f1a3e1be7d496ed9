// Takes the lock in a directory once there is `go`, and says whether it was alone: contender.mjs DIRECTORY PATIENCE
import { closeSync, existsSync, openSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { alone } from '../../temporary.mjs'

const [directory, patience] = process.argv.slice(2)
const inside = path.join(directory, 'inside')

async function work() {
  try {
    closeSync(openSync(inside, 'wx'))
  } catch {
    return 'not alone'
  }
  await sleep(30)
  rmSync(inside)
  return 'alone'
}

console.log('ready')
while (!existsSync(path.join(directory, 'go'))) await sleep(1)
try {
  console.log(await alone(path.join(directory, 'lock'), 'work', work, { patience: Number(patience) }))
} catch (error) {
  console.log(error.message.split('\n').at(-1))
}
