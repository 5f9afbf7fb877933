/**
 * The import of a desk's log: customers are tenants, and side by side; the entries of a case are taken in their order.
 */
import { Effect } from "effect"
import { type Repository, type StoreError, Tenant } from "effect-eventsourcing"
import type { Customer, DeskLog, Entry, Problem } from "./DeskLog.ts"
import * as Ticket from "./Ticket.ts"

/** What became of a log. */
export interface Imported {
  /** Entries that are new. */
  readonly added: number
  /** Entries that had been imported before. */
  readonly known: number
  /** Lines that break the rules of the desk. */
  readonly refused: ReadonlyArray<Problem>
}

const importCase = (name: string, entries: ReadonlyArray<Entry>) =>
  Effect.map(Ticket.recordEntries(name, entries), ({ added, refused }): Imported => ({
    added,
    known: entries.length - added - refused.length,
    refused: refused.map(({ entry, message }) => ({
      line: entries.find(({ id }) => id === entry)?.line ?? 0,
      problem: message
    }))
  }))

/** Everything that can go wrong with the store meanwhile. */
type Failure = Repository.LoadError | StoreError.AppendError

/** Imports a log, and tells after each case how many entries it had. */
export const importLog = (
  log: DeskLog,
  onProgress: (entries: number) => Effect.Effect<void>
): Effect.Effect<Imported, Failure, Repository.Repository> => {
  const importCustomer = ({ cases, tenantId }: Customer) =>
    Effect.forEach(cases, ([name, entries]) =>
      Effect.tap(importCase(name, entries), () => onProgress(entries.length))
    ).pipe(Tenant.provide(tenantId))

  return Effect.forEach(log.customers, importCustomer, { concurrency: 16 }).pipe(
    Effect.map((results) => {
      const all = results.flat()
      return {
        added: all.reduce((sum, { added }) => sum + added, 0),
        known: all.reduce((sum, { known }) => sum + known, 0),
        refused: all.flatMap(({ refused }) => refused).toSorted((a, b) => a.line - b.line)
      }
    })
  )
}
