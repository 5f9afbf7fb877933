/**
 * Programs in TypeScript for processes of their own, bundled once: a process that starts from one file is up in a fifth of
 * a second instead of two, and the tests start about a hundred.
 */
import { build } from "esbuild"
import { randomUUID } from "node:crypto"
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import * as Path from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
// below the package, so that packages which are not bundled are found
const directory = Path.join(root, ".cache", "programs")

/** CommonJS modules within a bundle of modules need it. */
const banner =
  'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);'

const bundles = new Map<string, Promise<string>>()

const make = async (file: string, packages: "bundle" | "external"): Promise<string> => {
  const { outputFiles } = await build({
    entryPoints: [Path.join(root, file)],
    bundle: true,
    write: false,
    platform: "node",
    format: "esm",
    target: "node20",
    packages,
    external: ["@electric-sql/pglite", "esbuild", "pg-native"],
    banner: { js: banner },
    logLevel: "silent",
    plugins: [
      {
        name: "modules keep their addresses",
        setup: (bundler) =>
          bundler.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
            if (!path.startsWith(root) || path.includes("node_modules")) return null
            const text = await readFile(path, "utf8")
            const url = JSON.stringify(pathToFileURL(path).href)
            return { contents: text.replaceAll(/import\.meta\.url/g, url), loader: "ts" }
          })
      }
    ]
  })
  const target = Path.join(directory, `${file.replaceAll(/[/\\]/g, "-")}-${packages}.mjs`)
  const temporary = `${target}.${randomUUID()}`
  await mkdir(directory, { recursive: true })
  // Several workers may be at it.
  await writeFile(temporary, outputFiles[0]?.contents ?? "")
  await rename(temporary, target)
  return target
}

/**
 * The path of a module of this repository as one file for `node`; with the packages it imports inside of it, or
 * `external`, for a program that imports those as well.
 */
export const bundled = (file: string, packages: "bundle" | "external" = "bundle"): Promise<string> => {
  const key = `${packages} ${file}`
  const found = bundles.get(key) ?? make(file, packages)
  bundles.set(key, found)
  return found
}
