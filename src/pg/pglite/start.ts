/**
 * Loads and starts PGlite, in memory or in a directory.
 */
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import * as Path from "node:path"
import { promisify } from "node:util"
import * as Zlib from "node:zlib"
import { lockName } from "./lock.ts"
import type { Pglite, PgliteSession } from "./session.ts"

/** The part of the package `@electric-sql/pglite` that is used. */
export interface PgliteModule {
  readonly start: (options: {
    readonly dataDir?: string
    readonly loadDataDir?: Blob
    readonly initDbStartParams?: ReadonlyArray<string>
    readonly startParams: ReadonlyArray<string>
    readonly onStderr: (line: string) => boolean
  }) => Promise<Pglite>
  readonly defaultStartParams: ReadonlyArray<string>
}

/** Loads PGlite; `undefined` if it is not installed. */
export const load = async (): Promise<PgliteModule | undefined> => {
  try {
    const { PGlite } = await import("@electric-sql/pglite")
    return {
      start: ({ initDbStartParams = [], startParams, ...options }) =>
        PGlite.create({
          ...options,
          initDbStartParams: [...initDbStartParams],
          startParams: [...startParams]
        }),
      defaultStartParams: PGlite.defaultStartParams
    }
  } catch (error) {
    if (error instanceof Error && "code" in error && String(error.code).endsWith("MODULE_NOT_FOUND"))
      return undefined
    throw error
  }
}

const sessions = new WeakMap<object, PgliteSession>()

/** The embedded database behind a client; undefined if it is a server. */
export const sessionOf = (client: object): PgliteSession | undefined => sessions.get(client)

/** Remembers the embedded database behind a client. */
export const registerSession = (client: object, session: PgliteSession): void => {
  sessions.set(client, session)
}

/** The failure of PGlite to start; `log` has PostgreSQL's messages. */
export class StartFailure extends Error {
  readonly log: string
  constructor(cause: unknown, log: string) {
    super("PGlite did not start", { cause })
    this.name = "StartFailure"
    this.log = log
  }
}

const settings = (values: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  Object.entries(values).flatMap(([name, value]) => ["-c", `${name}=${value}`])

const common = { shared_buffers: "32MB", min_wal_size: "32MB", max_wal_size: "32MB" }
/** Settings for a database in memory, whose write-ahead log is lost with the process anyway. */
const inMemory = { ...common, synchronous_commit: "off", full_page_writes: "off" }

const create = async (
  pglite: PgliteModule,
  options: {
    readonly dataDir?: string
    readonly loadDataDir?: Blob
    readonly initDbStartParams?: ReadonlyArray<string>
  }
): Promise<Pglite> => {
  const lines: Array<string> = []
  try {
    return await pglite.start({
      ...options,
      startParams: [
        ...pglite.defaultStartParams,
        ...settings(options.dataDir === undefined ? inMemory : common)
      ],
      onStderr: (line) => {
        lines.push(line)
        return false
      }
    })
  } catch (error) {
    const causes = lines.filter((line) => /\b(?:FATAL|PANIC|DETAIL|HINT): /.test(line))
    throw new StartFailure(error, causes.map((line) => line.replace(/^.*?\] /, "")).join(" "))
  }
}

/** The folder for templates: in `node_modules/.cache`, where tools keep such files, beside the package that they come from. */
const templateFolder = (): { readonly folder: string; readonly prefix: string } | undefined => {
  try {
    const entry = createRequire(import.meta.url).resolve("@electric-sql/pglite")
    const at = entry.lastIndexOf(`${Path.sep}node_modules${Path.sep}`)
    if (at < 0) return undefined
    const manifest: unknown = JSON.parse(
      Fs.readFileSync(Path.join(entry, "..", "..", "package.json"), "utf8")
    )
    if (typeof manifest !== "object" || manifest === null || !("version" in manifest)) return undefined
    return {
      folder: Path.join(entry.slice(0, at), "node_modules", ".cache", "effect-eventsourcing"),
      prefix: `pglite-${String(manifest.version)}`
    }
  } catch {
    return undefined
  }
}

/**
 * A file with a copy of a database, because creating one takes seconds and loading one does not: of an empty one, compressed, or of
 * one with a schema, which is loaded more often.
 */
const templateFile = (schema?: string): string | undefined => {
  const found = templateFolder()
  const ending = schema === undefined ? ".tar.gz" : `-${schema}.tar`
  return found && Path.join(found.folder, `${found.prefix}${ending}`)
}

const isCompressed = (file: string): boolean => file.endsWith(".gz")

/** A blob that gives its content without copying it. */
class Content extends Blob {
  readonly #content: Uint8Array<ArrayBuffer>
  constructor(content: Uint8Array<ArrayBuffer>) {
    super([])
    this.#content = content
  }
  override arrayBuffer(): Promise<ArrayBuffer> {
    const { buffer, byteLength, byteOffset } = this.#content
    return Promise.resolve(
      byteLength === buffer.byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength)
    )
  }
}

const loadTemplate = async (file: string | undefined): Promise<Blob | undefined> => {
  if (file === undefined) return undefined
  try {
    const content = await Fs.promises.readFile(file)
    return new Content(isCompressed(file) ? await promisify(Zlib.gunzip)(content) : content)
  } catch {
    return undefined
  }
}

const saveTemplate = async (file: string | undefined, template: Blob): Promise<void> => {
  if (file === undefined) return
  const temporary = `${file}.${process.pid}.${process.hrtime.bigint()}`
  try {
    await Fs.promises.mkdir(Path.dirname(file), { recursive: true })
    const content = Buffer.from(await template.arrayBuffer())
    await Fs.promises.writeFile(
      temporary,
      isCompressed(file) ? await promisify(Zlib.gzip)(content, { level: 3 }) : content,
      { mode: 0o600, flag: "wx" }
    )
    await Fs.promises.rename(temporary, file)
  } catch {
    // a read-only installation: every start creates its own database
    await Fs.promises.rm(temporary, { force: true }).catch(() => undefined)
  }
}

/** Removes templates of other schemas that were made more than a day ago. */
const removeOldTemplates = async (file: string): Promise<void> => {
  const folder = Path.dirname(file)
  for (const name of await Fs.promises.readdir(folder).catch(() => [])) {
    const other = Path.join(folder, name)
    if (!name.endsWith(".tar") || other === file) continue
    const made = await Fs.promises.stat(other).catch(() => undefined)
    if (made !== undefined && Date.now() - made.mtimeMs > 86_400_000)
      await Fs.promises.rm(other, { force: true }).catch(() => undefined)
  }
}

/** Starts from the template, or without it if it is missing or unusable. */
const startWith = async (
  pglite: PgliteModule,
  template: Blob | undefined,
  dataDir: string | undefined
): Promise<Pglite> => {
  const options = dataDir === undefined ? {} : { dataDir }
  if (template === undefined) return create(pglite, options)
  try {
    return await create(pglite, { ...options, loadDataDir: template })
  } catch {
    if (dataDir !== undefined) empty(dataDir)
    return create(pglite, options)
  }
}

/** A new database in memory. */
export const startInMemory = async (pglite: PgliteModule): Promise<Pglite> => {
  const file = templateFile()
  const template = await loadTemplate(file)
  const database = await startWith(pglite, template, undefined)
  // now, before anything is written
  if (template === undefined) await saveTemplate(file, await database.dumpDataDir("none"))
  return database
}

/** Segments of the write-ahead log of one MB, which make the copy half as large. */
const smallSegments = ["--wal-segsize=1"]

/**
 * A new database in memory that has a schema, if an earlier start has kept one; otherwise an empty one, with a function that keeps it
 * once the schema is applied and written by a checkpoint.
 */
export const startWithSchema = async (
  pglite: PgliteModule,
  schema: string
): Promise<{ readonly database: Pglite; readonly keep: (() => Promise<void>) | undefined }> => {
  const file = templateFile(schema)
  const template = await loadTemplate(file)
  if (file !== undefined && template !== undefined) {
    const loaded = await create(pglite, { loadDataDir: template }).catch(() => undefined)
    if (loaded !== undefined) return { database: loaded, keep: undefined }
  }
  if (file === undefined) return { database: await startInMemory(pglite), keep: undefined }
  const database = await create(pglite, { initDbStartParams: smallSegments })
  return {
    database,
    keep: async () => {
      await saveTemplate(file, await database.dumpDataDir("none"))
      await removeOldTemplates(file)
    }
  }
}

/** While this file exists, the database beside it is incomplete. */
const markerName = "effect-eventsourcing.creating"

const isOurs = (name: string): boolean =>
  name === markerName || name === lockName || name.startsWith(`${lockName}.`)

const empty = (directory: string): void => {
  for (const name of Fs.readdirSync(directory)) {
    if (!isOurs(name)) Fs.rmSync(Path.join(directory, name), { recursive: true, force: true })
  }
}

/** The kind of content of a directory, judged by the names of its files. */
export const inspect = (directory: string): "empty" | "unfinished" | "database" | "foreign" => {
  const names = Fs.readdirSync(directory)
  if (names.includes(markerName)) return "unfinished"
  if (names.every((name) => isOurs(name) || name === "lost+found")) return "empty"
  return names.includes("PG_VERSION") && names.includes("global") && names.includes("base")
    ? "database"
    : "foreign"
}

/** Opens the database in a locked directory, or creates it there. */
export const startInDirectory = async (pglite: PgliteModule, directory: string): Promise<Pglite> => {
  const found = inspect(directory)
  if (found === "database") return create(pglite, { dataDir: directory })
  if (found === "unfinished") empty(directory)
  const marker = Path.join(directory, markerName)
  Fs.writeFileSync(marker, "")
  const file = templateFile()
  let template = await loadTemplate(file)
  if (template === undefined && file !== undefined) {
    const scratch = await create(pglite, {})
    template = await scratch.dumpDataDir("none")
    await scratch.close()
    await saveTemplate(file, template)
  }
  const database = await startWith(pglite, template, directory)
  Fs.rmSync(marker)
  return database
}
