/** The contracts of the drivers under logins whose rights differ: none holds more than its own work needs. */
import * as AdministrationStorageSuite from "../../src/testing/AdministrationStorageSuite.ts"
import * as EventStorageSuite from "../../src/testing/EventStorageSuite.ts"
import * as ProjectionStorageSuite from "../../src/testing/ProjectionStorageSuite.ts"
import * as SnapshotStorageSuite from "../../src/testing/SnapshotStorageSuite.ts"
import * as TenantIsolationSuite from "../../src/testing/TenantIsolationSuite.ts"
import { servers } from "../support/Databases.ts"
import { apart, projections } from "../support/logins.ts"

for (const server of servers) {
  const storages = apart(server)
  const name = `logins apart on ${server.name}`
  EventStorageSuite.suite({ name, layer: storages })
  SnapshotStorageSuite.suite({ name, layer: storages })
  AdministrationStorageSuite.suite({ name, layer: storages })
  // handlers and their projections have one transaction
  ProjectionStorageSuite.suite({ name, layer: projections(server) })
  TenantIsolationSuite.suite({
    name,
    storage: storages,
    snapshots: storages,
    administration: storages,
    projections: storages
  })
}
