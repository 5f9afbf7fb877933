/**
 * `npx tsx scripts/pack.ts`, a step of `npm test` after `npm run build`: packs the build, once, into
 * `.cache/package.tgz`, for publint, Are The Types Wrong and test/package.test.ts.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const cache = Path.join(root, ".cache")

mkdirSync(cache, { recursive: true })
const packing = mkdtempSync(Path.join(cache, "packing-"))
try {
  // Without the package's scripts, which would build a second time.
  execFileSync("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", packing], {
    cwd: root,
    shell: process.platform === "win32"
  })
  renameSync(Path.join(packing, readdirSync(packing)[0] ?? ""), Path.join(cache, "package.tgz"))
} finally {
  rmSync(packing, { recursive: true, force: true })
}
