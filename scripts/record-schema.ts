/**
 * `npx tsx scripts/record-schema.ts`: records the SQL files that belong to the schema number of `src/pg/schemaNumber.ts`.
 * A released number keeps its files: raise the number first. With `--unreleased`, the last number, which nobody uses, may
 * change its files.
 */
import { createHash } from "node:crypto"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { schemaNumber } from "../src/pg/schemaNumber.ts"
import { type SqlFile, sqlFiles } from "../src/pg/sqlFiles.ts"

/** The files of a schema: the SHA-256 of each. */
export interface RecordedSchema {
  readonly number: number
  readonly files: Readonly<Record<string, string>>
}

/** The record of the last number's files: a line each, so that two changes of different files merge. */
export const recordFile: URL = new URL("../test/fixtures/schema.json", import.meta.url)

/** The present files. */
export const schemaOf = (number: number, files: ReadonlyArray<SqlFile>): RecordedSchema => ({
  number,
  files: Object.fromEntries(
    files.map(({ path, sql }) => [path, createHash("sha256").update(sql).digest("hex")])
  )
})

const main = (): void => {
  const now = schemaOf(schemaNumber, sqlFiles)
  if (existsSync(recordFile)) {
    const last = JSON.parse(readFileSync(recordFile, "utf8")) as RecordedSchema
    const same = JSON.stringify(last.files) === JSON.stringify(now.files)
    const least = same || process.argv.includes("--unreleased") ? last.number : last.number + 1
    if (schemaNumber < least)
      throw new Error(
        `the files are not those of schema ${last.number}: raise the number in src/pg/schemaNumber.ts and in migrations/checks/schema_version.sql`
      )
  }
  writeFileSync(recordFile, `${JSON.stringify(now, null, 2)}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
