/**
 * Policies, which decide when a repository takes a snapshot of an aggregate.
 */

/** The facts for the decision of a policy, after a load or after a command has appended events. */
export interface Situation {
  /** The aggregate's name. */
  readonly aggregateType: string
  /** The version of the state that would be stored. */
  readonly version: number
  /** The version of the snapshot that the load started from; 0 if it started at the first event. */
  readonly snapshotVersion: number
  /** Number of events that were read and folded to load the state. */
  readonly read: number
  /** Number of events that the command appended; 0 after a load. */
  readonly appended: number
}

/** A function that returns true to take a snapshot. If it throws, none is taken. */
export type SnapshotPolicy = (situation: Situation) => boolean

const checkCount = (name: string, count: number): void => {
  if (!Number.isSafeInteger(count) || count < 1) throw new RangeError(`${name} takes a positive integer`)
}

/**
 * Takes a snapshot when at least this number of events was appended since the last one.
 *
 * **Gotchas**
 *
 * Throws on a number that is not a positive integer.
 */
export const every = (events: number): SnapshotPolicy => {
  checkCount("SnapshotPolicy.every", events)
  return ({ snapshotVersion, version }) => version - snapshotVersion >= events
}

/**
 * Takes a snapshot when a load read more than this number of events: for streams that are read more often than written.
 *
 * **Gotchas**
 *
 * Throws on a number that is not a positive integer.
 */
export const whenReadMoreThan = (events: number): SnapshotPolicy => {
  checkCount("SnapshotPolicy.whenReadMoreThan", events)
  return ({ read }) => read > events
}

/** Takes no snapshot and uses none: every load folds all events. */
export const never: SnapshotPolicy = () => false
