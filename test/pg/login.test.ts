/** Logins of programs: one that holds every right is refused in production, and others cannot do the work of each other. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Layer } from "effect"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as PgCheck from "../../src/pg/PgCheck.ts"
import * as PgEmbedded from "../../src/pg/PgEmbedded.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { change, newToken } from "../../src/testing/driver/administrationKit.ts"
import { access, append, event, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import { everythingIn, failsWith } from "../../src/testing/isolation/kit.ts"
import { type Config, servers } from "../support/Databases.ts"
import { logged } from "../support/logs.ts"
import { type Login, loginOf, storeOf } from "../support/logins.ts"

const checked = (config: Config) =>
  PgCheck.login.pipe(Effect.provide(PgClient.layer({ ...config, maxConnections: 1 }), { local: true }))

const start = (config: Config, options: PgStorage.Options = {}) =>
  Layer.build(Layer.fresh(PgStorage.layerWith({ announce: false, ...options }))).pipe(
    Effect.provide(PgClient.layer({ ...config, maxConnections: 2 }), { local: true }),
    Effect.scoped
  )

/** Fails unless the database refuses it for want of a right. */
const isDenied = <A, E>(attempt: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(attempt), (error) => assert.include(everythingIn(error), "42501"))

const inEnvironment = (environment: Readonly<Record<string, string>>) =>
  Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(environment))

for (const server of servers)
  describe(`logins on ${server.name}`, () => {
    it.live("names every right too many, and accepts logins whose rights differ", () =>
      Effect.gen(function* () {
        const database = yield* server.freshDatabase
        const superuser = yield* checked(database.owner).pipe(failsWith("PrivilegedLogin"))
        assert.strictEqual(superuser.login, database.owner.username)
        assert.match(
          superuser.message,
          /is a superuser, to whom no policy applies \(give the program a login/
        )
        const all = yield* checked(database.app).pipe(failsWith("PrivilegedLogin"))
        assert.deepStrictEqual(
          all.problems.map(({ problem }) => problem),
          [
            "it is a member of eventsourcing_administrator, eventsourcing_all_tenants, eventsourcing_runner, eventsourcing_tenant"
          ]
        )
        const outside = yield* Layer.build(PgClient.layer({ ...database.owner, maxConnections: 1 }))
        const sql = Context.get(outside, PgClient.PgClient)
        const logins: ReadonlyArray<Login> = ["requests", "projections", "operator", "administrator"]
        for (const login of logins) yield* checked(yield* loginOf(database, login))
        const requests = yield* loginOf(database, "requests", "again")
        for (const [right, undo, problem] of [
          [
            "alter role $ bypassrls",
            "alter role $ nobypassrls",
            "it is exempt from row-level security (bypassrls)"
          ],
          [
            `grant ${String(database.owner.username)} to $`,
            `revoke ${String(database.owner.username)} from $`,
            "it owns the schema eventsourcing, and may drop its policies"
          ]
        ] as const) {
          const role = String(requests.username)
          yield* sql.unsafe(right.replace("$", role))
          const found = yield* checked(requests).pipe(failsWith("PrivilegedLogin"))
          assert.deepStrictEqual(
            found.problems.map((each) => each.problem),
            [problem]
          )
          yield* sql.unsafe(undo.replace("$", role))
          yield* checked(requests)
        }
      }).pipe(Effect.scoped)
    )

    it.live("refuses a login with every right in production, and elsewhere only if told to", () =>
      Effect.gen(function* () {
        const { app } = yield* server.freshDatabase
        yield* start(app).pipe(inEnvironment({}))
        yield* start(app).pipe(inEnvironment({ NODE_ENV: "development" }))
        const { message } = yield* start(app).pipe(
          inEnvironment({ NODE_ENV: "production" }),
          failsWith("PrivilegedLogin")
        )
        yield* start(app, { onPrivilegedLogin: "refuse" }).pipe(failsWith("PrivilegedLogin"))
        yield* start(app, { onPrivilegedLogin: "accept" }).pipe(inEnvironment({ NODE_ENV: "production" }))
        assert.deepStrictEqual(yield* logged(start(app, { onPrivilegedLogin: "warn" })), ["Warn", [message]])
      }).pipe(Effect.scoped)
    )

    it.live("a login does the work of its roles, and none of the others'", () =>
      Effect.gen(function* () {
        const database = yield* server.freshDatabase
        const [requests, operator, administrator] = yield* Effect.forEach(
          ["requests", "operator", "administrator"] as const,
          (login) => Effect.flatMap(loginOf(database, login), storeOf)
        )
        if (requests === undefined || operator === undefined || administrator === undefined) assert.fail()
        const tenant = newTenant()
        const write = append(tenant, stream("one", [event()]))
        yield* Effect.provideContext(write, requests)
        for (const login of [operator, administrator]) yield* isDenied(Effect.provideContext(write, login))

        const list = Effect.gen(function* () {
          const storage = yield* EventStorage
          const accessId = yield* access
          return yield* storage.listTenants({ accessId, after: undefined, limit: 10 })
        })
        assert.lengthOf((yield* Effect.provideContext(list, operator)).rows, 1)
        for (const login of [requests, administrator]) yield* isDenied(Effect.provideContext(list, login))

        const other = newTenant()
        const begin = change(other, { change: "beginImport", token: newToken() })
        yield* isDenied(Effect.provideContext(begin, requests))
        assert.strictEqual((yield* Effect.provideContext(begin, administrator)).state.status, "importing")
      }).pipe(Effect.scoped)
    )
  })

it.live("an embedded database has no logins", () => PgCheck.login.pipe(Effect.provide(PgEmbedded.layer)))
