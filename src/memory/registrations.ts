/** The registered projections, and the tables that each fills. */
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"

/** A registered projection. */
export interface Registration extends ProjectionStorage.ProjectionKey {
  readonly tables: ReadonlyArray<string>
  readonly inline: boolean
  readonly retired: boolean
}

/** The reason why a projection cannot be registered: a retired version, one run in another way, or a table that another one fills. */
export const refusal = (
  { projection, version, tables, inline }: Omit<Registration, "retired">,
  registrations: ReadonlyMap<string, Registration>
): ProjectionStorage.ProjectionRefused | undefined => {
  const refuse = (refused: Pick<ProjectionStorage.ProjectionRefused, "run" | "taken">) =>
    new ProjectionStorage.ProjectionRefused({ projection, version, ...refused })
  let taken: ProjectionStorage.ProjectionRefused["taken"] = null
  for (const other of registrations.values()) {
    if (other.projection === projection && other.version === version) {
      if (other.retired) return refuse({ run: null, taken: null })
      if (other.inline !== inline) return refuse({ run: other.inline ? "inline" : "runner", taken: null })
      continue
    }
    const table = tables.find((name) => other.tables.includes(name))
    if (table === undefined || (taken !== null && other.retired)) continue
    taken = { table, projection: other.projection, version: other.version, retired: other.retired }
  }
  return taken === null ? undefined : refuse({ run: null, taken })
}

export const retiredVersion = "this version is retired"

export const unknownVersion = "no runner has been started with it: start one, then rebuild again"

export const refuseRebuild = (
  { projection, version }: ProjectionStorage.ProjectionKey,
  problem: string
): ProjectionStorage.RebuildRefused =>
  new ProjectionStorage.RebuildRefused({ projection, version, problem, passing: true })
