/**
 * Appends of one tenant that come together, by a separate process. Its last argument is a {@link Settings} as JSON. Prints the numbers
 * of appends that were written and that the quota refused.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted, Result } from "effect"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import { append, deposits } from "./bank.ts"

export interface Settings {
  readonly host: string | undefined
  readonly port: number | undefined
  readonly username: string | undefined
  readonly password: string
  readonly database: string | undefined
  readonly tenantId: Tenant.TenantId
  readonly appends: number
}

const main = ({ appends, password, tenantId, ...config }: Settings) =>
  Effect.gen(function* () {
    const outcomes = yield* Effect.forEach(
      Array.from({ length: appends }),
      () => Effect.result(append("1", deposits(1))),
      { concurrency: "unbounded" }
    ).pipe(Tenant.provide(tenantId))
    const refused = outcomes.filter(
      (outcome) =>
        Result.isFailure(outcome) &&
        outcome.failure._tag === "TenantRefused" &&
        outcome.failure.reason._tag === "QuotaExceeded"
    ).length
    process.stdout.write(JSON.stringify({ written: outcomes.filter(Result.isSuccess).length, refused }))
  }).pipe(
    Effect.provide(
      EventStore.layer.pipe(
        Layer.provide(PgStorage.layer),
        Layer.provide(
          PgClient.layer({
            ...Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)),
            password: Redacted.make(password),
            maxConnections: 3
          })
        )
      )
    )
  )

const settings = process.argv[2]
if (settings !== undefined) await Effect.runPromise(main(JSON.parse(settings) as Settings))
