/**
 * `npx tsx scripts/build-inspector.ts`, a step of `npm run build`: replaces `dist/inspector/assets.js`, which bundles the page from its
 * sources, with a module that contains the bundle.
 */
import { rmSync, writeFileSync } from "node:fs"
import { bundle } from "../src/inspector/bundle.ts"

const folder = new URL("../dist/inspector/", import.meta.url)
const files = [...(await bundle())]
writeFileSync(
  new URL("assets.js", folder),
  `/** The files of the page. Written by scripts/build-inspector.ts. */\nconst files = new Map(${JSON.stringify(files)})\nexport const assets = () => Promise.resolve(files)\n`
)
// They would lead to the module that bundles.
for (const name of ["assets.js.map", "bundle.js", "bundle.js.map", "bundle.d.ts", "bundle.d.ts.map"])
  rmSync(new URL(name, folder))
