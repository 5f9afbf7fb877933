/**
 * `npx tsx scripts/embed-sql.ts`, a step of `npm run build`: replaces `dist/pg/sqlFiles.js`, which reads a folder, with a
 * module that contains the texts of the SQL files, so that a program bundled into one file can migrate its database.
 */
import { rmSync, writeFileSync } from "node:fs"
import { sqlFiles } from "../src/pg/sqlFiles.ts"

const built = new URL("../dist/pg/sqlFiles.js", import.meta.url)
const files = sqlFiles.map((file) => `  ${JSON.stringify(file)}`).join(",\n")
writeFileSync(
  built,
  `/** The SQL files of migrations/, in the order of install.sql. Written by scripts/embed-sql.ts. */\nexport const sqlFiles = [\n${files}\n]\n`
)
// it would map to the module that reads the folder
rmSync(new URL(`${built.href}.map`))
