/**
 * Programs in TypeScript for separate processes, bundled once: a process starts from one file in a fifth of
 * a second instead of two, and the tests start about a hundred.
 */
import { build } from "esbuild"
import { createHash, randomUUID } from "node:crypto"
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

/** Options of bundling a module. */
interface Options {
  /** Packages are put into the file, or left `external`, for a program that imports those as well. */
  readonly packages?: "bundle" | "external"
  /** Texts that replace modules, by their paths in this repository. */
  readonly replaced?: Readonly<Record<string, string>>
}

const make = async (file: string, { packages = "bundle", replaced = {} }: Options): Promise<string> => {
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
            const text =
              replaced[Path.relative(root, path).replaceAll("\\", "/")] ?? (await readFile(path, "utf8"))
            const url = JSON.stringify(pathToFileURL(path).href)
            return { contents: text.replaceAll(/import\.meta\.url/g, url), loader: "ts" }
          })
      }
    ]
  })
  const variant = createHash("sha256")
    .update(JSON.stringify([packages, replaced]))
    .digest("hex")
    .slice(0, 8)
  const target = Path.join(directory, `${file.replaceAll(/[/\\]/g, "-")}-${variant}.mjs`)
  const temporary = `${target}.${randomUUID()}`
  await mkdir(directory, { recursive: true })
  // Several workers may bundle at the same time.
  await writeFile(temporary, outputFiles[0]?.contents ?? "")
  await rename(temporary, target)
  return target
}

/** The path of a module of this repository as one file for `node`. */
export const bundled = (file: string, options: Options = {}): Promise<string> => {
  const key = JSON.stringify([file, options])
  const found = bundles.get(key) ?? make(file, options)
  bundles.set(key, found)
  return found
}
