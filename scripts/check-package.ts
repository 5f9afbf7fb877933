/**
 * `npx tsx scripts/check-package.ts`, a step of `npm test` after `npm run build`: packs what was built, once, and has the
 * tarball checked by publint and by Are The Types Wrong. It stays in `.cache/package.tgz`, where test/package.test.ts finds it.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const cache = Path.join(root, ".cache")
const tarball = Path.join(cache, "package.tgz")

const run = (...command: ReadonlyArray<string>): void => {
  execFileSync("npx", ["--no-install", ...command], {
    cwd: root,
    stdio: "inherit",
    shell: process.platform === "win32"
  })
}

mkdirSync(cache, { recursive: true })
const packing = mkdtempSync(Path.join(cache, "packing-"))
try {
  // Without its scripts, which would build a second time.
  execFileSync("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", packing], {
    cwd: root,
    shell: process.platform === "win32"
  })
  renameSync(Path.join(packing, readdirSync(packing)[0] ?? ""), tarball)
} finally {
  rmSync(packing, { recursive: true, force: true })
}
try {
  run("publint", "run", tarball, "--strict")
  run("attw", tarball, "--profile", "esm-only")
} catch {
  // The tool has said what is wrong.
  process.exitCode = 1
}
