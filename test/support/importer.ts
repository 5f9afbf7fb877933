/**
 * A process that imports a log in the order of time, one event an item, and says after each chunk how far it is: for
 * `test/store/EventStore.import.long.test.ts`, which kills it.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted, Stream } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Account, deposited } from "./bank.ts"
import { storeOn } from "./crashWriter.ts"

/** How the process is told about its work. */
export interface Settings {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly database: string
  readonly tenantId: string
  readonly events: number
  readonly streams: number
}

/** Where it is told. */
export const settingsName = "EVENTSOURCING_IMPORTER"

/** The id of an item's event: a run again brings the same. */
export const eventIdOf = (item: number): Event.EventId =>
  Event.EventId.make(`00000000-0000-7000-8000-${item.toString(16).padStart(12, "0")}`)

/** The stream of an item: all of them come again and again. */
export const streamOf = (item: number, streams: number): string => `account ${(item * 7919) % streams}`

const program = ({ events, password, streams, tenantId, ...server }: Settings) =>
  EventStore.EventStore.use((store) =>
    store.importEvents(
      Stream.range(0, events - 1).pipe(
        Stream.map((item) => ({
          aggregate: Account,
          id: streamOf(item, streams),
          events: [Event.make(deposited(item), { eventId: eventIdOf(item) })]
        }))
      ),
      {
        chunkEvents: 200,
        // To a pipe, on this thread: what is written survives the process.
        onProgress: ({ appended, known }) =>
          Effect.sync(() => void process.stdout.write(`${appended + known}\n`))
      }
    )
  ).pipe(
    Tenant.provide(Tenant.TenantId.make(tenantId)),
    Effect.provide(
      storeOn({ ...server, password: Redacted.make(password) } satisfies PgClient.PgPoolConfig, 2)
    )
  )

const settings = process.env[settingsName]
// In no process but those that are started for it.
if (settings !== undefined) {
  await Effect.runPromise(program(JSON.parse(settings) as Settings))
  process.exit()
}
