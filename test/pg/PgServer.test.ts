/** A client with deadlines, and the check that finds a client without them. */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as PgCheck from "../../src/pg/PgCheck.ts"
import * as PgServer from "../../src/pg/PgServer.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import { servers } from "../support/Databases.ts"
import { layerOn, TenantDatabase } from "../support/tenantDatabase.ts"

/** The problems that the check finds for a client, by their first word. */
const found = <E>(client: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, E>) =>
  PgCheck.settings.pipe(
    Effect.as([]),
    Effect.catchTag("SettingsIncomplete", ({ problems }) =>
      Effect.succeed(problems.map(({ problem }) => problem.split(" ")[0]))
    ),
    Effect.provide(client, { local: true })
  )

for (const server of servers) {
  layer(layerOn(server), { excludeTestServices: true })(`a client of ${server.name}`, (it) => {
    it.effect("without deadlines is reported, and PgServer.layer has them", () =>
      TenantDatabase.use(
        Effect.fnUntraced(function* ({ app: given }) {
          const app = { ...given, keepAlive: undefined }
          assert.deepStrictEqual(yield* found(PgClient.layer({ ...app, multiplex: true })), [
            "idle_in_transaction_session_timeout",
            "lock_timeout",
            "statement_timeout",
            "keepAlive",
            "multiplex"
          ])
          assert.deepStrictEqual(yield* found(PgServer.layer(given)), [])
          assert.deepStrictEqual(
            yield* found(PgServer.layer({ ...given, startupParameters: { lock_timeout: "0" } })),
            ["lock_timeout"]
          )
          assert.deepStrictEqual(
            yield* found(PgServer.layer(given)).pipe(
              Effect.provideService(PgTenant.Silence, Duration.seconds(20))
            ),
            ["statement_timeout"]
          )
        })
      )
    )

    it.effect("gives its sessions the default deadlines, or those that are set", () =>
      TenantDatabase.use(({ app }) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const [row] = yield* sql<{ lock: string; idle: string }>`
            select current_setting('lock_timeout') as lock,
              current_setting('idle_in_transaction_session_timeout') as idle`
          assert.deepStrictEqual(row, { lock: "10s", idle: "1s" })
        }).pipe(
          Effect.provide(
            PgServer.layer({
              ...app,
              startupParameters: { idle_in_transaction_session_timeout: "1s" }
            }),
            { local: true }
          )
        )
      )
    )
  })
}
