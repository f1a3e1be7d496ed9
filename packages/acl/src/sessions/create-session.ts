import type { Engine } from '../engines.js'
import { isBlock, type ResolvedOptions } from '../options/options.js'
import { ReferenceSession } from '../reference/session.js'
import { BlockSession } from './block-session.js'
import { NativeSession } from './native-session.js'
import type { Session } from './session.js'

/** An engine at work on what the options ask for. */
export function createSession(engine: Engine, options: ResolvedOptions): Session {
  if (engine.name === 'reference') return new ReferenceSession(options)
  return engine.name === 'native' && isBlock(options)
    ? new BlockSession(engine, options)
    : new NativeSession(engine, options)
}
