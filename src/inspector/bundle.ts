/**
 * Bundles the page from its sources. `scripts/build-inspector.ts` replaces `assets.ts` by its result, and this file is not published.
 */
import { build } from "esbuild"
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"

const source = fileURLToPath(new URL("page", import.meta.url))

/** The texts of the page's files. The same sources give the same bytes. */
export const bundle = async (): Promise<ReadonlyMap<string, string>> => {
  const { outputFiles } = await build({
    absWorkingDir: source,
    entryPoints: { page: "main.tsx", style: "page.css" },
    bundle: true,
    minify: true,
    write: false,
    outdir: "out",
    format: "esm",
    target: "es2022",
    charset: "utf8",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "inline",
    logLevel: "silent"
  })
  const texts = new Map(outputFiles.map(({ path, text }) => [path.replace(/^.*[\\/]/, ""), text]))
  return new Map([
    ["index.html", await readFile(`${source}/index.html`, "utf8")],
    ["page.js", texts.get("page.js") ?? ""],
    ["page.css", texts.get("style.css") ?? ""]
  ])
}
