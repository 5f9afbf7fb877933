/**
 * `npx tsx scripts/embed-sql.ts`, a step of `npm run build`: replaces `dist/pg/sqlFiles.js`, which reads a folder, with a
 * module that contains the texts of the SQL files, so that a program bundled into one file can migrate its database.
 */
import { rmSync, writeFileSync } from "node:fs"
import { type SqlFile, sqlFiles, vaultFiles } from "../src/pg/sqlFiles.ts"

const built = new URL("../dist/pg/sqlFiles.js", import.meta.url)
const listOf = (name: string, files: ReadonlyArray<SqlFile>): string =>
  `export const ${name} = [\n${files.map((file) => `  ${JSON.stringify(file)}`).join(",\n")}\n]\n`
writeFileSync(
  built,
  `/** The SQL files of migrations/, in the order of their install.sql. Written by scripts/embed-sql.ts. */\n${listOf("sqlFiles", sqlFiles)}${listOf("vaultFiles", vaultFiles)}`
)
// it would map to the module that reads the folder
rmSync(new URL(`${built.href}.map`))
