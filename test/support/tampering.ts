/** Changes to a log outside of the library: in memory, on the embedded database and on servers. */
import { Context, Effect, Layer } from "effect"
import * as EventStorage from "../../src/driver/EventStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import { servers } from "./Databases.ts"
import { inThisRun } from "./pgliteRuns.ts"
import { layerEmbedded, layerOn, TenantDatabase } from "./tenantDatabase.ts"

type Rows = ReadonlyArray<EventStorage.EventRow>

/** Rewrites rows outside of the library. */
export class Tampering extends Context.Service<
  Tampering,
  {
    /** Replaces the rows of a tenant's log. */
    readonly replace: (tenantId: TenantId, rows: Rows) => Effect.Effect<void>
    /** Moves or removes the start of a tenant's hash chain. */
    readonly chainFrom: (tenantId: TenantId, position: number | undefined) => Effect.Effect<void>
  }
>()("test/Tampering") {}

/** The services that the tests of hash chains need. */
export type Services = Tampering | EventStorage.EventStorage | EventStore.EventStore

const inMemory: Layer.Layer<Tampering | EventStorage.EventStorage> = Layer.effectContext(
  Effect.map(EventStorage.EventStorage, (driver) => {
    const replaced = new Map<TenantId, Rows>()
    const chained = new Map<TenantId, number | undefined>()
    const storage = EventStorage.EventStorage.of({
      ...driver,
      head: (request) => {
        const rows = replaced.get(request.tenantId)
        if (rows === undefined) return driver.head(request)
        const last = rows.at(-1)
        return Effect.succeed({
          position: last?.position ?? 0,
          eventId: last?.eventId ?? null,
          eventIdAt: rows.find(({ position }) => position === request.at)?.eventId ?? null
        })
      },
      listTenants: (request) =>
        Effect.map(driver.listTenants(request), (page) => ({
          ...page,
          rows: page.rows.map((row) => ({
            ...row,
            position: replaced.get(row.tenantId)?.at(-1)?.position ?? row.position
          }))
        })),
      hashChainStart: (tenantId) =>
        chained.has(tenantId) ? Effect.succeed(chained.get(tenantId)) : driver.hashChainStart(tenantId),
      readLog: (request) => {
        const { direction, fromPosition, limit, tenantId, toPosition } = request
        const rows = replaced.get(tenantId)
        if (rows === undefined) return driver.readLog(request)
        const inRange = rows.filter(({ position }) => position >= fromPosition && position <= toPosition)
        const ordered = direction === "forwards" ? inRange : inRange.toReversed()
        return Effect.succeed({ rows: ordered.slice(0, limit), complete: ordered.length <= limit })
      }
    })
    const tampering = Tampering.of({
      replace: (tenantId, rows) =>
        Effect.sync(() => {
          replaced.set(
            tenantId,
            rows.toSorted((left, right) => left.position - right.position)
          )
        }),
      chainFrom: (tenantId, position) => Effect.sync(() => void chained.set(tenantId, position))
    })
    return Context.make(EventStorage.EventStorage, storage).pipe(Context.add(Tampering, tampering))
  })
).pipe(Layer.provide(MemoryStorage.layer))

const onDatabase = Layer.effectContext(
  Effect.gen(function* () {
    const { outside, store } = yield* TenantDatabase
    const services = yield* store()
    const tampering = Tampering.of({
      // In one statement, so that nobody sees the log without its new end.
      replace: (tenantId, rows) =>
        Effect.orDie(
          outside(
            `with removed as (delete from eventsourcing.events where tenant_id = $1::uuid returning 1)
            insert into eventsourcing.events (tenant_id, position, aggregate_type, aggregate_id, version, event_id,
              event_type, schema_version, occurred_at, recorded_at, actor, correlation_id, causation_id, metadata,
              payload, bytes, tags, hash)
            select $1::uuid, r.position, r.aggregate_type, r.aggregate_id, r.version, r.event_id, r.event_type,
              r.schema_version, 'epoch'::timestamptz + r.occurred_at * interval '1 millisecond',
              'epoch'::timestamptz + r.recorded_at * interval '1 millisecond', r.actor, r.correlation_id,
              r.causation_id, r.metadata::json, r.payload::json, 0,
              array(select json_array_elements_text(r.tags)), decode(r.hash, 'hex')
            from json_to_recordset($2::json) r (position bigint, aggregate_type text, aggregate_id text, version integer,
              event_id uuid, event_type text, schema_version integer, occurred_at bigint, recorded_at bigint,
              actor text, correlation_id text, causation_id text, metadata text, payload text, tags json, hash text)
            where (select count(*) from removed) >= 0`,
            [
              tenantId,
              JSON.stringify(
                rows.map((row) => ({
                  ...row,
                  aggregate_type: row.aggregateType,
                  aggregate_id: row.aggregateId,
                  event_id: row.eventId,
                  event_type: row.eventType,
                  schema_version: row.schemaVersion,
                  occurred_at: row.occurredAt,
                  recorded_at: row.recordedAt,
                  correlation_id: row.correlationId,
                  causation_id: row.causationId
                }))
              )
            ]
          )
        ),
      chainFrom: (tenantId, position) =>
        Effect.orDie(
          outside("update eventsourcing.tenants set chained_from = $2::bigint where tenant_id = $1::uuid", [
            tenantId,
            position ?? null
          ])
        )
    })
    return Context.add(services, Tampering, tampering)
  })
)

/** Drivers, with changes outside of the library. */
export const tamperable: ReadonlyArray<{ readonly name: string; readonly layer: Layer.Layer<Services> }> =
  inThisRun([
    { name: "memory", layer: EventStore.layer.pipe(Layer.provideMerge(inMemory)) },
    {
      name: "PGlite",
      layer: EventStore.layer.pipe(Layer.provideMerge(onDatabase), Layer.provide(layerEmbedded))
    },
    ...servers.map((server) => ({
      name: server.name,
      layer: EventStore.layer.pipe(Layer.provideMerge(onDatabase), Layer.provide(layerOn(server)))
    }))
  ])
