/** Each layer of isolation alone, on the embedded database, where every client is the superuser. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, References } from "effect"
import { SqlClient } from "effect/sql"
import * as PgCheck from "../../src/pg/PgCheck.ts"
import { type Case, coreCases } from "../../src/testing/TenantIsolationSuite.ts"
import { failsWith } from "../../src/testing/isolation/kit.ts"
import { setRls, withoutPredicates } from "../support/mutants.ts"
import { projectionCases } from "../support/projectionCases.ts"
import { layerEmbedded, type Store, TenantDatabase } from "../support/tenantDatabase.ts"

const cases: ReadonlyArray<Case<Store>> = [...projectionCases, ...coreCases]

/** The names of the cases that fail. */
const red = (store: Context.Context<Store>) =>
  Effect.filter(cases, ({ run }) =>
    run.pipe(
      Effect.provideContext(store),
      Effect.exit,
      Effect.map(Exit.isFailure),
      // without the logs of cases that fail
      Effect.provideService(References.CurrentLoggers, new Set())
    )
  ).pipe(Effect.map((found) => found.map(({ name }) => name)))

const onStore = <A, E, R>(
  body: (store: Context.Context<Store>, sql: SqlClient.SqlClient) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const { store } = yield* TenantDatabase
    const services = yield* store()
    return yield* body(services, Context.get(services, SqlClient.SqlClient)).pipe(
      Effect.provideContext(services)
    )
  }).pipe(Effect.scoped, Effect.provide(layerEmbedded, { local: true }))

describe("on PGlite", () => {
  it.live(
    "31: the statements alone isolate while row-level security is switched off, which the check reports",
    () =>
      onStore((store) =>
        Effect.gen(function* () {
          yield* setRls(false)
          assert.deepStrictEqual(yield* red(store), [])
          const { problems } = yield* PgCheck.isolation.pipe(failsWith("IsolationImpaired"))
          assert.include(
            problems.map(({ problem }) => problem),
            "row-level security of eventsourcing.events is off"
          )
        })
      )
  )

  it.live("32, 33: row-level security alone isolates without any predicate, also for a superuser", () =>
    onStore((store, sql) =>
      Effect.gen(function* () {
        for (const definition of yield* withoutPredicates) yield* sql.unsafe(definition)
        assert.deepStrictEqual(yield* red(store), [])
      })
    )
  )

  it.live("32: without both, cases fail", () =>
    onStore((store, sql) =>
      Effect.gen(function* () {
        for (const definition of yield* withoutPredicates) yield* sql.unsafe(definition)
        yield* setRls(false)
        assert.isAbove((yield* red(store)).length, 10)
      })
    )
  )
})
