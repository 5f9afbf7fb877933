/** The store as programs with a login each use it: requests, projections, and operators. */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted, type Scope } from "effect"
import { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import type { Config, Database, TestServer } from "./Databases.ts"

/** The roles of each login. */
const rolesOf = {
  requests: ["eventsourcing_tenant"],
  projections: ["eventsourcing_tenant", "eventsourcing_runner", "eventsourcing_all_tenants"],
  operator: ["eventsourcing_all_tenants", "eventsourcing_administrator"],
  administrator: ["eventsourcing_administrator"]
} as const

export type Login = keyof typeof rolesOf

/** A new login of a database with these rights, which is dropped when the scope closes. */
export const loginOf = (
  { name, owner }: Database,
  login: Login,
  suffix = ""
): Effect.Effect<Config, never, Scope.Scope> =>
  Effect.gen(function* () {
    const services = yield* Layer.build(Layer.fresh(PgClient.layer({ ...owner, maxConnections: 1 })))
    const sql = Context.get(services, PgClient.PgClient)
    const role = `${name}_${login}${suffix}`
    yield* Effect.acquireRelease(
      sql.unsafe(
        `do $$ begin create role ${role} login password 'apart'; grant ${rolesOf[login].join(", ")} to ${role}; end $$`
      ),
      () => Effect.orDie(sql.unsafe(`drop role ${role}`))
    )
    return { ...owner, username: role, password: Redacted.make("apart") }
  }).pipe(Effect.orDie)

type Storages = EventStorage | ProjectionStorage | SnapshotStorage | AdministrationStorage

/** The store under a login. It would not start under one that holds every right. */
export const storeOf = (
  config: Config
): Effect.Effect<Context.Context<Storages | PgClient.PgClient>, never, Scope.Scope> =>
  Layer.build(
    Layer.fresh(
      PgStorage.layerWith({ onPrivilegedLogin: "refuse" }).pipe(Layer.provideMerge(PgClient.layer(config)))
    )
  ).pipe(Effect.orDie)

/** A database under three logins: of requests, of what looks across tenants or administers them, and of projections. */
export const apart = (server: TestServer): Layer.Layer<Storages> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const database = yield* server.freshDatabase
      const requests = yield* Effect.flatMap(loginOf(database, "requests"), storeOf)
      const operator = yield* Effect.flatMap(loginOf(database, "operator"), storeOf)
      const ofProjections = yield* Effect.flatMap(loginOf(database, "projections"), storeOf)
      const ofOperator = Context.get(operator, EventStorage)
      return Context.make(
        EventStorage,
        EventStorage.of({
          ...Context.get(requests, EventStorage),
          recordAccess: ofOperator.recordAccess,
          completeAccess: ofOperator.completeAccess,
          setTenantStatus: ofOperator.setTenantStatus,
          listTenants: ofOperator.listTenants,
          readAllLogs: ofOperator.readAllLogs,
          usage: ofOperator.usage,
          listAccesses: ofOperator.listAccesses
        })
      ).pipe(
        Context.add(SnapshotStorage, Context.get(requests, SnapshotStorage)),
        Context.add(AdministrationStorage, Context.get(operator, AdministrationStorage)),
        Context.add(ProjectionStorage, Context.get(ofProjections, ProjectionStorage))
      )
    })
  )

/** A program with projections. */
export const projections = (
  server: TestServer
): Layer.Layer<EventStorage | SnapshotStorage | ProjectionStorage | PgClient.PgClient> =>
  Layer.effectContext(
    Effect.flatMap(server.freshDatabase, (database) =>
      Effect.flatMap(loginOf(database, "projections"), storeOf)
    )
  )
