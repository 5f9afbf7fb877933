/**
 * `npx tsx scripts/record-schema.ts`: writes down which SQL files belong to the schema number of `src/pg/schemaNumber.ts`.
 * A released number keeps its files: raise the number first. With `--unreleased` the last number, which nobody has, may
 * change its files.
 */
import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { schemaNumber } from "../src/pg/schemaNumber.ts"
import { type SqlFile, sqlFiles } from "../src/pg/sqlFiles.ts"

interface Recorded {
  readonly number: number
  readonly sha256: string
}

/** The SHA-256 of all files with their paths. */
export const fingerprint = (files: ReadonlyArray<SqlFile>): string =>
  createHash("sha256").update(JSON.stringify(files)).digest("hex")

const main = (): void => {
  const file = new URL("../test/fixtures/schemas.json", import.meta.url)
  const recorded = JSON.parse(readFileSync(file, "utf8")) as ReadonlyArray<Recorded>
  const sha256 = fingerprint(sqlFiles)
  const last = recorded.at(-1)
  const mayChange = process.argv.includes("--unreleased")
  if (last !== undefined && last.sha256 !== sha256) {
    const least = mayChange ? last.number : last.number + 1
    if (schemaNumber < least)
      throw new Error(
        `the files are not those of schema ${last.number}: raise the number in src/pg/schemaNumber.ts and in migrations/checks/schema_version.sql`
      )
  }
  const others = recorded.filter(({ number }) => number < schemaNumber)
  writeFileSync(file, `${JSON.stringify([...others, { number: schemaNumber, sha256 }], null, 2)}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
