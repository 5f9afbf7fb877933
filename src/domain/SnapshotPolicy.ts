/**
 * When a repository takes a snapshot of an aggregate.
 */

/** What is known when a snapshot could be taken: after a load, or after a command has appended events. */
export interface Situation {
  /** The aggregate's name. */
  readonly aggregateType: string
  /** The version of the state that would be kept. */
  readonly version: number
  /** The version of the snapshot that the state was begun with; 0 if it was folded from the first event. */
  readonly snapshotVersion: number
  /** How many events were read and folded to load the state. */
  readonly read: number
  /** How many events the command appended; 0 after a load. */
  readonly appended: number
}

/** Says whether a snapshot is taken. One that throws takes none. */
export type SnapshotPolicy = (situation: Situation) => boolean

const checkCount = (name: string, count: number): void => {
  if (!Number.isSafeInteger(count) || count < 1) throw new RangeError(`${name} takes a positive integer`)
}

/**
 * Takes one when at least so many events have come since the last one.
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
 * Takes one when more than so many events were read to load the aggregate: for streams that are read more than written.
 *
 * **Gotchas**
 *
 * Throws on a number that is not a positive integer.
 */
export const whenReadMoreThan = (events: number): SnapshotPolicy => {
  checkCount("SnapshotPolicy.whenReadMoreThan", events)
  return ({ read }) => read > events
}

/** Takes none, and uses none that there are: every load folds all events. */
export const never: SnapshotPolicy = () => false
