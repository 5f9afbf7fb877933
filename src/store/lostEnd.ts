/** Earlier commands in a log that may lose its end, as in a failover, while their outcomes are read. */
import type { CommandRow } from "../driver/EventStorage.ts"
import { Contended, StorageUnavailable } from "../driver/StoreError.ts"

/** Number of times that a command starts again because the log has lost its end. */
export const maxLosses = 8

/**
 * True if a key, looked up again, still has the row of before. Otherwise the events read in between may be of another history,
 * at the same versions and positions.
 */
export const isKept = (before: CommandRow, now: CommandRow | undefined): boolean =>
  now?.version === before.version && now.position === before.position && now.events === before.events

/** The failure after too many losses. Nothing was written. */
export const lostTooOften = (): StorageUnavailable =>
  new StorageUnavailable({
    reason: new Contended({ operation: "read the outcome of a command", code: null })
  })
