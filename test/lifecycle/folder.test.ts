import { assert, describe, it } from "@effect/vitest"
import { ByteSize, Effect, FileSystem, Layer, Stream } from "effect"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import * as TenantArchive from "../../src/lifecycle/TenantArchive.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import * as archives from "../support/archives.ts"

/** The part of a file system that folders of archives need, on that of Node. */
const Files = Layer.succeed(
  FileSystem.FileSystem,
  FileSystem.makeNoop({
    makeDirectory: (path, options) => Effect.promise(async () => void (await fs.mkdir(path, options))),
    writeFile: (path, bytes) => Effect.promise(() => fs.writeFile(path, bytes)),
    rename: (from, to) => Effect.promise(() => fs.rename(from, to)),
    readDirectory: (path) => Effect.promise(() => fs.readdir(path)),
    readFile: (path) => Effect.promise(() => fs.readFile(path)),
    stat: (path) =>
      Effect.map(
        Effect.promise(() => fs.stat(path)),
        ({ size }) => ({ size: ByteSize.bytes(size) }) as unknown as FileSystem.File.Info
      )
  })
)

const folder = Effect.acquireRelease(
  Effect.promise(() => fs.mkdtemp(Path.join(tmpdir(), "archive-"))),
  (path) => Effect.promise(() => fs.rm(path, { recursive: true }))
)

const archive = Effect.suspend(() => {
  const tenantId = newTenant()
  const rows = archives.oddRows(tenantId)
  return archives.archiveOf([rows.slice(0, 15), rows.slice(15)], { tenantId })
})

describe("a folder", () => {
  it.effect("has the files of an archive, and gives them back in order", () =>
    Effect.gen(function* () {
      const files = yield* archive
      const path = Path.join(yield* folder, "new", "acme")
      yield* TenantArchive.writeFolder(path)(archives.stream(files))
      assert.deepStrictEqual(
        (yield* Effect.promise(() => fs.readdir(path))).toSorted(),
        files.map(({ name }) => name)
      )
      const read = yield* Stream.runCollect(TenantArchive.readFolder(path))
      assert.deepStrictEqual(
        read.map(({ bytes, name }) => [name, Buffer.from(bytes).toString()]),
        files.map((file) => [file.name, archives.textOf(file)])
      )
      const manifest = yield* TenantArchive.verifyFiles(TenantArchive.readFolder(path))
      assert.strictEqual(manifest.events, 30)
    }).pipe(Effect.scoped, Effect.provide(Files))
  )

  it.effect("is refused with other files, and with large ones before they are read", () =>
    Effect.gen(function* () {
      const path = yield* folder
      yield* TenantArchive.writeFolder(path)(archives.stream(yield* archive))
      const tooLarge = yield* flipped(
        TenantArchive.verifyFiles(TenantArchive.readFolder(path, { maxFileBytes: 1000 }))
      )
      assert.deepInclude(tooLarge, { reason: "tooLarge", file: "10-events-000001.ndjson" })
      yield* Effect.promise(() => fs.writeFile(Path.join(path, "notes.txt"), "mine"))
      const other = yield* flipped(TenantArchive.verifyFiles(TenantArchive.readFolder(path)))
      assert.deepInclude(other, { reason: "misplaced", file: "notes.txt" })
    }).pipe(Effect.scoped, Effect.provide(Files))
  )
})
