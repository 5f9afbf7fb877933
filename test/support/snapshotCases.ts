/** Isolation cases of snapshots in PostgreSQL: they fail if one predicate on the tenant is missing. */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import * as PgStorage from "../../src/pg/PgStorage.ts"
import { type Case, type Services, snapshotCases as shipped } from "../../src/testing/TenantIsolationSuite.ts"

// The mutation tests switch row-level security off, which a store normally refuses.
const storage = PgStorage.layerWith({ announce: false, onImpairedIsolation: "warn" })

/** The cases of the suite, on the database of the client. */
export const snapshotCases: ReadonlyArray<Case<Services | SqlClient.SqlClient>> = shipped.map(
  ({ name, run }) => ({ name, run: Effect.provide(run, storage, { local: true }) })
)
