import { servers } from "./Databases.ts"

const onPglite = process.env["EVENTSOURCING_PGLITE"] === "yes"

/**
 * The backends on which this run tests what is built on drivers: PGlite takes as long as the others together, so that `npm test`
 * leaves it to the long run (`vitest.config.ts`), unless there is no server.
 */
export const inThisRun = <Backend extends { readonly name: string }>(
  all: ReadonlyArray<Backend>
): ReadonlyArray<Backend> =>
  onPglite || servers.length === 0 ? all : all.filter(({ name }) => name !== "PGlite")
