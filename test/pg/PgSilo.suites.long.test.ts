/** The contracts of drivers and the isolation cases, with tenants spread over a pool and silos. */
import { layer as describeWith } from "@effect/vitest"
import * as PgSilo from "../../src/pg/PgSilo.ts"
import * as AdministrationStorageSuite from "../../src/testing/AdministrationStorageSuite.ts"
import * as EventStorageSuite from "../../src/testing/EventStorageSuite.ts"
import * as ProjectionStorageSuite from "../../src/testing/ProjectionStorageSuite.ts"
import * as SnapshotStorageSuite from "../../src/testing/SnapshotStorageSuite.ts"
import * as TenantIsolationSuite from "../../src/testing/TenantIsolationSuite.ts"
import { servers } from "../support/Databases.ts"
import { admitting, mixed } from "../support/silo.ts"

for (const server of servers) {
  const open = ["pool", "second", "third"]
  EventStorageSuite.suite({
    name: `${server.name}, in three databases`,
    layer: mixed(server, open),
    layerWithoutProvisioning: mixed(server, open, { provisionOnAppend: false })
  })
  ProjectionStorageSuite.suite({
    name: `${server.name}, in three databases`,
    layer: mixed(server, open),
    ordered: false
  })
  ProjectionStorageSuite.suite({
    name: `${server.name}, in one of two databases`,
    layer: mixed(server, ["pool", "second"], { placementOf: () => "second" })
  })
  SnapshotStorageSuite.suite({ name: `${server.name}, in three databases`, layer: mixed(server, open) })
  AdministrationStorageSuite.suite({ name: `${server.name}, in three databases`, layer: mixed(server, open) })
  const pooledAndSilos = admitting(server, ["pool", "silo-1", "silo-2"])
  TenantIsolationSuite.suite({
    name: `${server.name}, in a pool and two silos`,
    storage: pooledAndSilos,
    projections: pooledAndSilos,
    snapshots: pooledAndSilos,
    administration: pooledAndSilos
  })

  describeWith(
    TenantIsolationSuite.layer(mixed(server, ["pool", "second"], { placementOf: () => "second" })),
    {
      excludeTestServices: true,
      timeout: 60_000
    }
  )(`tenant isolation: ${server.name}, a database of several`, (it) => {
    for (const { name, run } of TenantIsolationSuite.databaseCases)
      it.effect(name, () => PgSilo.PgSilo.use(({ on }) => on("second")(run)), 20_000)
  })
}
