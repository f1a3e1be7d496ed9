/**
 * The process in which binaries may do their worst: `child.js native FILE` and `child.js acl FILE` try an addon, `child.js default` tries
 * what an `Attention` gets that asks for no engine.
 */
import type { Addon } from '../addons/interface.js'
import { loadedAddon, requireAddon } from '../addons/load.js'
import { firstLine } from '../checks/describe.js'
import { chooseEngine, type Engine } from '../engines.js'
import { IntAttnError, inWords, LoaderError } from '../errors.js'
import type { InstructionSet } from '../types.js'
import type { Message, Outcome } from './messages.js'
import { differenceFromReference } from './trial.js'

const tell = (message: Message) => process.send?.(message)

const [what, file = ''] = process.argv.slice(2)
tell({ outcome: what === 'default' ? tryDefault() : tryAddon(what === 'acl' ? 'acl' : 'native', file) })
process.disconnect()

function tryAddon(engine: 'native' | 'acl', path: string): Outcome {
  tell({ doing: 'loading' })
  let addon: Addon
  try {
    addon = requireAddon(path)
  } catch (error) {
    return { verdict: 'refused', reason: firstLine(error) }
  }
  if (engine === 'acl') return tryEngine({ name: 'acl', addon })
  return tryNative(addon)
}

function tryNative(addon: Addon): Outcome {
  try {
    const instructionSets: InstructionSet[] = []
    for (const { name, available } of addon.instructionSets()) {
      if (!available) continue
      const isa = name as InstructionSet
      const { verdict, reason } = tryEngine({ name: 'native', addon, isa })
      if (verdict !== 'works') return { verdict, reason: `${isa}: ${reason}`, instructionSets }
      instructionSets.push(isa)
    }
    return { verdict: 'works', instructionSets, cpuFeatures: addon.cpuFeatures() }
  } catch (error) {
    return { verdict: 'wrong', reason: firstLine(error) }
  }
}

function tryEngine(engine: Engine): Outcome {
  tell({ doing: engine.name === 'native' ? `computing with ${engine.isa}` : 'computing' })
  try {
    const reason = differenceFromReference(engine)
    return reason === undefined ? { verdict: 'works' } : { verdict: 'wrong', reason }
  } catch (error) {
    return { verdict: 'wrong', reason: firstLine(error) }
  }
}

function tryDefault(): Outcome {
  tell({ doing: 'loading' })
  try {
    const engine = chooseEngine(undefined, undefined)
    const { name } = engine
    const chosen = {
      engine: name,
      ...(name === 'native' && { isa: engine.isa }),
      ...(name !== 'reference' && { place: loadedAddon(name).place }),
    }
    return { ...tryEngine(engine), chosen }
  } catch (error) {
    return { verdict: 'refused', ...explained(error) }
  }
}

function explained(error: unknown): Pick<Outcome, 'reason' | 'remedies'> {
  if (error instanceof LoaderError) {
    return { reason: `no loadable addon: ${inWords(error.tried)}`, remedies: error.remedies }
  }
  const reason = firstLine(error)
  return error instanceof IntAttnError ? { reason, remedies: [`correct ${error.argument} or unset it`] } : { reason }
}
