/**
 * Writers that append without a pause and repeat unacknowledged appends. `test/pg/crash.test.ts` runs them beside
 * itself, and as a separate program that it can kill.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import type { StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Account, deposited } from "./bank.ts"

/** An acknowledged event. */
export interface Acknowledged {
  readonly tenantId: string
  readonly eventId: string
  readonly aggregateId: string
  readonly version: number
  readonly position: number
}

/** Settings of the writers. */
export interface Options {
  /** Names the streams and batches of this group of writers. */
  readonly name: string
  readonly writers: number
  readonly tenants: ReadonlyArray<Tenant.TenantId>
  readonly onAcknowledged: (events: ReadonlyArray<Acknowledged>) => void
  readonly onUnavailable: (error: StorageUnavailable) => void
  readonly isDone: () => boolean
}

/** The store on a database, with a connection for each writer. */
export const storeOn = (config: PgClient.PgPoolConfig, writers: number) =>
  EventStore.layer.pipe(
    Layer.provide(PgStorage.layer),
    Layer.provide(PgClient.layer({ ...config, maxConnections: writers }))
  )

/** Appends batches of two to five events to two streams, until it is done; each batch until it is acknowledged. */
export const write = (options: Options) =>
  Effect.gen(function* () {
    const store = yield* EventStore.EventStore
    const writer = Effect.fnUntraced(function* (number: number) {
      for (let batch = 1; !options.isDone(); batch++) {
        const tenantId = options.tenants[batch % options.tenants.length] ?? Tenant.untenanted
        const size = 2 + (batch % 4)
        const metadata = { batch: `${options.name} ${number} ${batch}`, size }
        const events = Array.from({ length: size }, (_, index) =>
          Event.make(deposited(index), { eventId: Event.generateId(), metadata })
        )
        const append = store.appendAll([
          {
            aggregate: Account,
            id: `${options.name} ${number}`,
            expectedVersion: "any",
            events: events.slice(1)
          },
          { aggregate: Account, id: "shared", expectedVersion: "any", events: events.slice(0, 1) }
        ])
        const attempt: typeof append = append.pipe(
          Effect.catchIf(
            (error) =>
              error._tag === "OutcomeUnknown" || (error._tag === "StorageUnavailable" && error.retryable),
            (error) => {
              if (error._tag === "StorageUnavailable") options.onUnavailable(error)
              return Effect.suspend(() => attempt)
            }
          )
        )
        const appended = yield* attempt.pipe(Tenant.provide(tenantId))
        options.onAcknowledged(appended.flatMap((result) => result.events))
      }
    })
    yield* Effect.forEach(
      Array.from({ length: options.writers }, (_, index) => index),
      writer,
      {
        concurrency: "unbounded",
        discard: true
      }
    )
  })

/** The settings of the program, from its environment. */
export interface Settings {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly database: string
  readonly name: string
  readonly tenants: ReadonlyArray<Tenant.TenantId>
}

/** The environment variable with the settings. */
export const settingsName = "EVENTSOURCING_CRASH_WRITER"

const program = (settings: Settings) => {
  const writers = 4
  return write({
    ...settings,
    writers,
    // To a pipe, on this thread, so that written lines survive the process.
    onAcknowledged: (events) =>
      process.stdout.write(`${JSON.stringify(events.map((event) => ({ ...event, payload: null })))}\n`),
    onUnavailable: () => undefined,
    isDone: () => false
  }).pipe(Effect.provide(storeOn({ ...settings, password: Redacted.make(settings.password) }, writers)))
}

const settings = process.env[settingsName]
// Only in processes that are started for this program.
if (settings !== undefined) {
  await Effect.runPromise(program(JSON.parse(settings) as Settings))
}
