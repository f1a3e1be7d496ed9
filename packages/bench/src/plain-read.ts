import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Contender } from './measure.js'

/** Reads memory and does nothing with it: the C library's search for a byte that is not there. */
export interface PlainRead extends Contender {
  /** Read in a turn, by all threads together. */
  readonly bytes: number
  close(): Promise<void>
}

const ABSENT = 1
/** Of the shared counters: turns begun, threads that are done with it. */
const BEGUN = 0
const DONE = 1

/** Each thread searches a part of its own. */
const PROGRAM = `
const { workerData: { counters, memory, absent }, parentPort } = require('node:worker_threads')
const bytes = Buffer.from(memory).fill(0xff) // pages that nobody wrote to are all the same one
bytes.indexOf(absent)
parentPort.postMessage('ready')
for (let turn = 0; ; turn++) {
  Atomics.wait(counters, ${BEGUN}, turn)
  if (counters[${BEGUN}] < 0) break
  bytes.indexOf(absent)
  Atomics.add(counters, ${DONE}, 1)
}`

/**
 * What the memory gives on some threads, to compare with what a cache of as many bytes takes.
 *
 * @param bytes altogether, at least 1
 */
export async function openPlainRead(bytes: number, threads: number): Promise<PlainRead> {
  const part = Math.ceil(bytes / threads)
  const counters = new Int32Array(new SharedArrayBuffer(8))
  const own = Buffer.from(new SharedArrayBuffer(part)).fill(0xff)
  const workers = Array.from({ length: threads - 1 }, () => {
    const workerData = { counters, memory: new SharedArrayBuffer(part), absent: ABSENT }
    return new Worker(PROGRAM, { eval: true, workerData })
  })
  await Promise.all(workers.map((worker) => once(worker, 'message')))
  return {
    bytes: part * threads,
    run() {
      const begin = process.hrtime.bigint()
      if (workers.length > 0) {
        Atomics.store(counters, DONE, 0)
        Atomics.add(counters, BEGUN, 1)
        Atomics.notify(counters, BEGUN)
      }
      own.indexOf(ABSENT)
      while (Atomics.load(counters, DONE) < workers.length);
      return { ms: Number(process.hrtime.bigint() - begin) / 1e6 }
    },
    async close() {
      Atomics.store(counters, BEGUN, -1)
      Atomics.notify(counters, BEGUN)
      await Promise.all(workers.map((worker) => worker.terminate()))
    },
  }
}
