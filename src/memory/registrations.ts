/** Projections that were registered, with the tables that only they may fill. */
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"

/** A registered projection. */
export interface Registration extends ProjectionStorage.ProjectionKey {
  readonly tables: ReadonlyArray<string>
  readonly retired: boolean
}

/** The reason why a projection cannot be registered: a retired version, or a table that another one fills. */
export const refusal = (
  { projection, version, tables }: Omit<Registration, "retired">,
  registrations: ReadonlyMap<string, Registration>
): ProjectionStorage.ProjectionRefused | undefined => {
  let taken: ProjectionStorage.ProjectionRefused["taken"] = null
  for (const other of registrations.values()) {
    if (other.projection === projection && other.version === version) {
      if (other.retired) return new ProjectionStorage.ProjectionRefused({ projection, version, taken: null })
      continue
    }
    const table = tables.find((name) => other.tables.includes(name))
    if (table === undefined || (taken !== null && other.retired)) continue
    taken = { table, projection: other.projection, version: other.version, retired: other.retired }
  }
  return taken === null ? undefined : new ProjectionStorage.ProjectionRefused({ projection, version, taken })
}
