/**
 * A process that imports a log in the order of time, one event per item, and prints its progress after each chunk: for
 * `test/store/EventStore.import.long.test.ts`, which kills it.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted, Stream } from "effect"
import * as Event from "../../src/domain/Event.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Account, deposited } from "./bank.ts"
import { storeOn } from "./crashWriter.ts"

/** The settings of the process. */
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

/** The environment variable with the settings. */
export const settingsName = "EVENTSOURCING_IMPORTER"

/** The id of an item's event, the same in each run. */
export const eventIdOf = (item: number): Event.EventId =>
  Event.EventId.make(`00000000-0000-7000-8000-${item.toString(16).padStart(12, "0")}`)

/** The stream of an item; all streams recur. */
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
        // To a pipe, on this thread, so that written lines survive the process.
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
// Only in processes that are started for this program.
if (settings !== undefined) {
  await Effect.runPromise(program(JSON.parse(settings) as Settings))
  process.exit()
}
