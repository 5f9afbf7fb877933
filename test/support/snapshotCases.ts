/** Isolation cases of snapshots in PostgreSQL: they go red if one predicate on the tenant is missing. */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { type Case, type Services, snapshotCases as shipped } from "../../src/testing/TenantIsolationSuite.ts"

/** Those of the suite, on the database of the client. */
export const snapshotCases: ReadonlyArray<Case<Services | SqlClient.SqlClient>> = shipped.map(
  ({ name, run }) => ({ name, run: Effect.provide(run, PgStorage.layer, { local: true }) })
)
