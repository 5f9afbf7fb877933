/** Fresh databases of a server as the places of tenants: one or more pools, and silos. */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted, type Scope } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import type * as PgStorage from "../../src/pg/PgStorage.ts"
import * as PgSilo from "../../src/pg/PgSilo.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import * as TenantDirectory from "../../src/routed/TenantDirectory.ts"
import { connect, createServer, type Socket } from "node:net"
import type { Database, TestServer } from "./Databases.ts"
import { byHash } from "./placements.ts"

/** A database that is a placement. */
export interface Place extends Database {
  readonly dedicated: boolean
  /** Runs a statement as the superuser, on a separate connection. */
  readonly outside: <A extends object>(
    statement: string,
    parameters?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<A>, SqlError.SqlError>
}

/** Named databases by placement; those whose placement begins with "silo" are dedicated. */
export const places = (
  server: TestServer,
  names: ReadonlyArray<string>,
  prepare: ReadonlyArray<string> = []
): Effect.Effect<ReadonlyMap<string, Place>, never, Scope.Scope> =>
  Effect.map(
    Effect.forEach(
      names,
      Effect.fnUntraced(function* (placement) {
        const database = yield* server.freshDatabase
        const dedicated = placement.startsWith("silo")
        const services = yield* Effect.orDie(
          Layer.buildWithMemoMap(
            PgClient.layer({ ...database.owner, maxConnections: 1 }),
            Layer.makeMemoMapUnsafe(),
            yield* Effect.scope
          )
        )
        const sql = Context.get(services, SqlClient.SqlClient)
        for (const statement of prepare) yield* Effect.orDie(sql.unsafe(statement))
        yield* Effect.orDie(PgSilo.name(placement, { dedicated }).pipe(Effect.provideContext(services)))
        const place: Place = {
          ...database,
          dedicated,
          outside: (statement, parameters) => sql.unsafe(statement, parameters)
        }
        return [placement, place] as const
      })
    ),
    (entries) => new Map(entries)
  )

/** Registers a tenant if its database is dedicated, as the setup of a customer does. */
export const admit = (place: Place, tenantId: TenantId): Effect.Effect<void> =>
  place.dedicated
    ? Effect.orDie(Effect.asVoid(place.outside("select eventsourcing.admit_tenant($1)", [tenantId])))
    : Effect.void

/** A connection to a server that can be cut and restored. */
export interface Wire {
  readonly port: number
  readonly cut: Effect.Effect<void>
  readonly mend: Effect.Effect<void>
}

/** A connection to the server of a placement, until the scope closes. */
export const wireTo = ({ app }: Place): Effect.Effect<Wire, never, Scope.Scope> =>
  Effect.gen(function* () {
    const url = app.url === undefined ? undefined : new URL(Redacted.value(app.url))
    const [host, target] = [app.host ?? url?.hostname ?? "localhost", app.port ?? Number(url?.port ?? 5432)]
    const sockets = new Set<Socket>()
    const server = createServer((client) => {
      const upstream = connect(target, host)
      for (const [from, to] of [
        [client, upstream],
        [upstream, client]
      ] as const) {
        sockets.add(from)
        from.setNoDelay(true)
        from.on("error", () => to.destroy())
        from.on("close", () => {
          sockets.delete(from)
          to.destroy()
        })
        from.pipe(to)
      }
    })
    const listen = (port: number) =>
      Effect.callback<number>((resume) => {
        server.listen(port, "127.0.0.1", () => {
          const address = server.address()
          resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
        })
      })
    const cut = Effect.callback<void>((resume) => {
      if (!server.listening) return resume(Effect.void)
      server.close(() => resume(Effect.void))
      for (const socket of sockets) socket.destroy()
    })
    const port = yield* Effect.acquireRelease(listen(0), () => cut)
    return { port, cut, mend: Effect.asVoid(listen(port)) }
  })

/** The databases of these placements. */
export const databases =
  (known: ReadonlyMap<string, Place>, store: PgStorage.Options = {}) =>
  (placement: string) => {
    const place = known.get(placement)
    return place && { client: PgClient.layer(place.app), dedicated: place.dedicated, store }
  }

/** Tenants in these placements, by their ids unless stated otherwise. */
const directory = (
  known: ReadonlyMap<string, Place>,
  placementOf: (tenantId: TenantId) => string | undefined = byHash([...known.keys()])
): Layer.Layer<TenantDirectory.TenantDirectory> =>
  TenantDirectory.layerWith({ placements: [...known.keys()], placementOf })

interface Mixed {
  readonly placementOf?: (tenantId: TenantId) => string | undefined
  readonly provisionOnAppend?: boolean
}

const over = (known: ReadonlyMap<string, Place>, { placementOf, provisionOnAppend }: Mixed) =>
  PgSilo.layer({ database: databases(known, { provisionOnAppend }) }).pipe(
    Layer.provideMerge(directory(known, placementOf))
  )

/** A layer over fresh databases. */
export const mixed = (server: TestServer, names: ReadonlyArray<string>, options: Mixed = {}) =>
  Layer.unwrap(Effect.map(places(server, names), (known) => over(known, options)))

/** The same, with tenants admitted to their silos at their first read, write or registration. */
export const admitting = (server: TestServer, names: ReadonlyArray<string>) =>
  Layer.unwrap(
    Effect.map(places(server, names), (known) =>
      Layer.effect(
        EventStorage,
        Effect.gen(function* () {
          const storage = yield* EventStorage
          const found = yield* TenantDirectory.TenantDirectory
          const admitted = (tenantId: TenantId) =>
            Effect.flatMap(Effect.orDie(found.placement(tenantId)), (placement) => {
              const place = known.get(placement)
              return place === undefined ? Effect.void : admit(place, tenantId)
            })
          return EventStorage.of({
            ...storage,
            append: (request) => Effect.andThen(admitted(request.tenantId), storage.append(request)),
            readStream: (request) => Effect.andThen(admitted(request.tenantId), storage.readStream(request)),
            loadStream: (request) => Effect.andThen(admitted(request.tenantId), storage.loadStream(request)),
            streamEndsWith: (request) =>
              Effect.andThen(admitted(request.tenantId), storage.streamEndsWith(request)),
            readLog: (request) => Effect.andThen(admitted(request.tenantId), storage.readLog(request)),
            streamVersion: (request) =>
              Effect.andThen(admitted(request.tenantId), storage.streamVersion(request)),
            head: (request) => Effect.andThen(admitted(request.tenantId), storage.head(request)),
            provisionTenant: (tenantId) =>
              Effect.andThen(admitted(tenantId), storage.provisionTenant(tenantId))
          })
        })
      ).pipe(Layer.provideMerge(over(known, {})))
    )
  )
