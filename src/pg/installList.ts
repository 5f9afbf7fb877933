/** Reads `install.sql`, which psql runs and from which PgMigrator takes its order. Both must read it alike. */

const include = /^\\ir ((?:\w+\/)*\w+\.sql)$/

/** The lines around a change of data, by which psql applies it only once, as PgMigrator does. */
const guarded = (path: string): ReadonlyArray<string> => [
  `select not exists (select from eventsourcing.schema_files where path = '${path}') as pending \\gset`,
  "\\if :pending",
  `\\ir ${path}`,
  `insert into eventsourcing.schema_files (path, sha256) values ('${path}', 'applied by psql');`,
  "\\endif"
]

/**
 * The paths that the list includes, in its order.
 *
 * **Details**
 *
 * The list consists of comments, empty lines, lines `\ir folder/object.sql`, and for each change of data the five lines of
 * `guarded`. Everything else throws, because psql would run it and PgMigrator would not.
 */
export const includes = (list: string): ReadonlyArray<string> => {
  const lines = list.split("\n").filter((line) => line !== "" && !line.startsWith("--"))
  const paths: Array<string> = []
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? ""
    const plain = include.exec(line)?.[1]
    const change = plain === undefined ? include.exec(lines[at + 2] ?? "")?.[1] : undefined
    const path = plain ?? change
    const isChange = path?.startsWith("changes/") === true
    const fits =
      change === undefined
        ? plain !== undefined && !isChange
        : isChange && guarded(change).every((expected, n) => lines[at + n] === expected)
    if (path === undefined || !fits)
      throw new Error(
        `install.sql: "${line}" is not understood. Write \\ir folder/object.sql to include a file, or for a change of data:\n${guarded("changes/0001_name.sql").join("\n")}`
      )
    if (change !== undefined) at += guarded(change).length - 1
    paths.push(path)
  }
  return paths
}
