/** Archives that are damaged, incomplete or forged are refused, with the file, the line and the remedy. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Result, Schema, Stream } from "effect"
import * as Tar from "effect/encoding/Tar"
import { gzipSync } from "node:zlib"
import { readFileSync } from "node:fs"
import { chainStart, eventHash } from "../../src/driver/eventHash.ts"
import type { EventRow } from "../../src/driver/EventStorage.ts"
import * as format from "../../src/lifecycle/archiveFormat.ts"
import { Cutter, type Lines } from "../../src/lifecycle/segments.ts"
import * as TenantArchive from "../../src/lifecycle/TenantArchive.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import * as archives from "../support/archives.ts"

const tenantId = newTenant()
const rows = archives.oddRows(tenantId)
const segmentsOf = (all: ReadonlyArray<EventRow>) => [all.slice(0, 10), all.slice(10, 20), all.slice(20)]
const archive = archives.archiveOf(segmentsOf(rows), {
  tenantId,
  others: {
    progress: [
      format.progressLine({
        projection: "mails",
        version: 1,
        position: 30,
        parked: false,
        attempts: 0,
        failedPosition: undefined,
        error: undefined
      })
    ]
  }
})
const [first, second, third] = ["000001", "000002", "000003"].map(
  (number) => `10-events-${number}.ndjson`
) as [string, string, string]
const progress = "30-progress-000001.ndjson"
const { headerName, manifestName } = format

interface Refused {
  readonly file: string
  readonly line: number | null
  readonly reason: string
}

const shown = <A>(result: Result.Result<A, TenantArchive.InvalidArchive>): Refused | "accepted" =>
  Result.isFailure(result)
    ? { file: result.failure.file, line: result.failure.line, reason: result.failure.reason }
    : "accepted"

const verify = (given: archives.Files, options: TenantArchive.Verification = {}) =>
  Effect.map(Effect.result(TenantArchive.verifyFiles(archives.stream(given), options)), shown)

const verifyTar = (bytes: Uint8Array, options: TenantArchive.Verification = {}) =>
  Effect.map(Effect.result(TenantArchive.verifyTar(Stream.succeed(bytes), options)), shown)

const tarOf = (files: archives.Files) =>
  TenantArchive.toTar(archives.stream(files)).pipe(
    Stream.runCollect,
    Effect.map((chunks) => new Uint8Array(Buffer.concat(chunks)))
  )

const refused = (file: string, reason: string, line: number | null = null): Refused => ({
  file,
  line,
  reason
})
const without = (name: string) => (files: archives.Files) => files.filter((file) => file.name !== name)

describe("an archive", () => {
  it.effect("is accepted as files and as a tar file, which tar reads", () =>
    Effect.gen(function* () {
      const files = yield* archive
      assert.deepStrictEqual(
        files.map(({ name }) => name),
        [headerName, first, second, third, progress, manifestName]
      )
      const manifest = yield* TenantArchive.verifyFiles(archives.stream(files))
      assert.deepStrictEqual(
        [manifest.events, manifest.head?.hash, manifest.chainedFrom],
        [30, rows[29]?.hash, 11]
      )
      assert.deepStrictEqual(
        manifest.types.reduce((sum, { events }) => sum + events, 0),
        30
      )
      assert.strictEqual(yield* verifyTar(yield* tarOf(files)), "accepted")
    })
  )

  it.effect("states the version of the package", () =>
    Effect.gen(function* () {
      const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string }
      assert.strictEqual(format.libraryVersion, version)
      assert.strictEqual((yield* TenantArchive.verifyFiles(archives.stream(yield* archive))).library, version)
    })
  )

  it.effect("is refused if any byte of any file is changed", () =>
    Effect.gen(function* () {
      const files = yield* archive
      for (const [index, file] of files.entries())
        for (let at = index; at < file.bytes.length; at += Math.ceil(file.bytes.length / 25)) {
          const bytes = file.bytes.slice()
          bytes[at] = (bytes[at] ?? 0) ^ 1
          const result = yield* verify(files.with(index, { ...file, bytes }))
          assert.notStrictEqual(result, "accepted", `${file.name} at ${at}`)
        }
    })
  )

  it.effect("is refused wherever it is cut off", () =>
    Effect.gen(function* () {
      const files = yield* archive
      for (let count = 0; count < files.length; count++) {
        const last = files[count - 1]?.name ?? "the archive"
        assert.deepStrictEqual(yield* verify(files.slice(0, count)), refused(last, "truncated"))
      }
      const [header, segment] = files
      assert.isDefined(header)
      assert.isDefined(segment)
      const short = { ...segment, bytes: segment.bytes.slice(0, -30) }
      assert.deepInclude(yield* verify([header, short]), { file: first, reason: "truncated" })
      const bytes = yield* tarOf(files)
      for (let end = 0; end < bytes.length - 1024; end += 4099)
        assert.notStrictEqual(yield* verifyTar(bytes.slice(0, end)), "accepted", `at ${end}`)
    })
  )

  it.effect("is refused if segments are missing, doubled, swapped, or come after the end", () =>
    Effect.gen(function* () {
      const files = yield* archive
      const fileOf = (name: string) => files.find((file) => file.name === name) ?? assert.fail(name)
      assert.deepStrictEqual(yield* verify(without(first)(files)), refused(second, "misplaced"))
      assert.deepStrictEqual(yield* verify(without(third)(files)), refused(progress, "changed"))
      assert.deepStrictEqual(
        yield* verify(archives.changing(files, { [second]: (file) => [file, file] })),
        refused(second, "misplaced")
      )
      assert.deepStrictEqual(
        yield* verify(
          archives.changing(files, { [second]: () => [fileOf(third)], [third]: () => [fileOf(second)] })
        ),
        refused(third, "misplaced")
      )
      // The contents are swapped, and the names are in order.
      const swapped = archives.changing(files, {
        [second]: (file) => [{ ...file, bytes: fileOf(third).bytes }],
        [third]: (file) => [{ ...file, bytes: fileOf(second).bytes }]
      })
      assert.deepInclude(yield* verify(swapped), { file: second, reason: "misplaced" })
      assert.deepStrictEqual(yield* verify([...files, fileOf(first)]), refused(first, "misplaced"))
      assert.deepStrictEqual(yield* verify(without(headerName)(files)), refused(first, "notAnArchive"))
      assert.deepStrictEqual(
        yield* verify([{ name: headerName, bytes: archives.json({ a: 1 }) }]),
        refused(headerName, "notAnArchive")
      )
    })
  )

  it.effect("is refused if a segment of another archive takes a place, even with the same positions", () =>
    Effect.gen(function* () {
      const files = yield* archive
      const other = yield* archives.archiveOf(
        segmentsOf(rows.map((row) => ({ ...row, actor: "somebody else", hash: null })))
      )
      const replaced = archives.changing(files, {
        [second]: () => other.filter(({ name }) => name === second)
      })
      assert.deepInclude(yield* verify(replaced), { file: second, reason: "changed" })
    })
  )

  it.effect("is refused if a newer version wrote its header or its manifest", () =>
    Effect.gen(function* () {
      const files = yield* archive
      for (const name of [headerName, manifestName]) {
        const newer = archives.changing(files, { [name]: archives.withMembers({ formatVersion: 3 }) })
        assert.deepStrictEqual(yield* verify(newer), refused(name, "newerVersion"))
        for (const formatVersion of [0, -1, 1.5, "1", null])
          assert.deepStrictEqual(
            yield* verify(archives.changing(files, { [name]: archives.withMembers({ formatVersion }) })),
            refused(name, "notAnArchive")
          )
      }
    })
  )

  it.effect("of version 1 has no sealed fields, keys and subjects", () =>
    Effect.gen(function* () {
      const files = (yield* archive).map((file) => {
        if (file.name !== headerName && file.name !== manifestName) return file
        const members = JSON.parse(archives.textOf(file)) as Record<string, unknown>
        for (const name of ["sealed", "keys", "sealedEvents", "forgotten"]) delete members[name]
        return { name: file.name, bytes: archives.json({ ...members, formatVersion: 1 }) }
      })
      const manifest = yield* TenantArchive.verifyFiles(archives.stream(files))
      assert.containSubset(manifest, { events: 30, sealed: false, keys: null, forgotten: 0 })
    })
  )

  it.effect("is refused if its manifest lies", () =>
    Effect.gen(function* () {
      const files = yield* archive
      const lies: ReadonlyArray<Readonly<Record<string, unknown>>> = [
        { events: 29 },
        { types: [] },
        { segments: [] },
        { head: { position: 29, eventId: rows[28]?.eventId, hash: rows[28]?.hash } },
        { chainedFrom: null },
        { tenantId: newTenant() },
        { status: "suspended" }
      ]
      for (const lie of lies)
        assert.deepStrictEqual(
          yield* verify(archives.changing(files, { [manifestName]: archives.withMembers(lie) })),
          refused(manifestName, "inconsistent"),
          JSON.stringify(lie)
        )
      const headless = yield* archives.archiveOf(segmentsOf(rows), { tenantId, head: null })
      assert.deepStrictEqual(yield* verify(headless), refused(manifestName, "inconsistent"))
    })
  )

  it.effect("is refused if its digests are right and its events are not", () =>
    Effect.gen(function* () {
      const changedAt = (position: number, fields: Partial<EventRow>) =>
        rows.map((row) => (row.position === position ? { ...row, ...fields } : row))
      const forged = (all: ReadonlyArray<EventRow>) =>
        Effect.flatMap(archives.archiveOf(segmentsOf(all), { tenantId, chainedFrom: 11 }), verify)
      assert.deepStrictEqual(
        yield* forged(changedAt(15, { payload: '{"forged":1}' })),
        refused(second, "changed", 5)
      )
      assert.deepStrictEqual(yield* forged(changedAt(15, { hash: null })), refused(second, "changed", 5))
      assert.deepStrictEqual(
        yield* forged(changedAt(5, { hash: rows[20]?.hash ?? null })),
        refused(first, "changed", 5)
      )
      assert.deepStrictEqual(yield* forged(changedAt(5, { position: 6 })), refused(first, "inconsistent", 5))
      assert.deepStrictEqual(
        yield* forged(changedAt(5, { recordedAt: 0 })),
        refused(first, "inconsistent", 5)
      )
      assert.deepStrictEqual(yield* forged(changedAt(5, { payload: "{" })), refused(first, "malformed", 5))
      // Without the chain nothing proves this one.
      assert.strictEqual(yield* forged(changedAt(5, { payload: '{"forged":1}' })), "accepted")
    })
  )

  it.effect("is refused by an anchor if the whole chain was rewritten", () =>
    Effect.gen(function* () {
      const anchor = { position: 20, hash: rows[19]?.hash ?? "" }
      let previous = chainStart
      const rewritten = rows.map((row) => {
        if (row.hash === null) return row
        const forged = { ...row, payload: '{"forged":1}' }
        previous = eventHash(previous, tenantId, forged)
        return { ...forged, hash: previous }
      })
      const forged = yield* archives.archiveOf(segmentsOf(rewritten), { tenantId })
      assert.strictEqual(yield* verify(forged), "accepted")
      assert.deepStrictEqual(yield* verify(forged, { anchor }), refused(second, "inconsistent", 10))
      assert.strictEqual(yield* verify(yield* archive, { anchor }), "accepted")
      assert.deepStrictEqual(
        yield* verify(yield* archive, { anchor: { ...anchor, position: 31 } }),
        refused(manifestName, "inconsistent")
      )
    })
  )
})

describe("a tar file", () => {
  const withEntry = (entry: Tar.Entry) =>
    Effect.flatMap(archive, (files) =>
      Stream.fromIterable([...files.slice(0, 2).map(({ bytes, name }) => Tar.file(name, bytes)), entry]).pipe(
        Stream.pipeThroughChannelOrFail(Tar.encode()),
        Stream.runCollect,
        Effect.orDie,
        Effect.map((chunks) => new Uint8Array(Buffer.concat(chunks)))
      )
    )

  it.effect("is refused with a path, a link, a folder or a file of another name", () =>
    Effect.gen(function* () {
      const content = new Uint8Array(10)
      const hostile: ReadonlyArray<Tar.Entry> = [
        Tar.file("../10-events-000002.ndjson", content),
        Tar.file("/etc/passwd", content),
        Tar.file("a/../../b", content),
        Tar.file("..\\b", content),
        Tar.file(`sub/${second}`, content),
        Tar.directory("sub"),
        Tar.symlink(second, "/etc/passwd"),
        Tar.hardlink(second, headerName),
        Tar.file("10-events-2.ndjson", content),
        Tar.file("10-events-000002.ndjson.gz", content),
        Tar.file("70-other-000001.ndjson", content),
        Tar.file("..", content)
      ]
      for (const entry of hostile)
        assert.deepStrictEqual(
          yield* verifyTar(yield* withEntry(entry)),
          refused(entry.header.path, "misplaced"),
          entry.header.path
        )
    })
  )

  it.effect("is accepted after other tools have packed it, with a folder and dots in front", () =>
    Effect.gen(function* () {
      const files = yield* archive
      const bytes = yield* Stream.fromIterable([
        Tar.directory("./"),
        ...files.map((file) => Tar.file(`./${file.name}`, file.bytes, { uname: "me", mtime: new Date(1e12) }))
      ]).pipe(
        Stream.pipeThroughChannelOrFail(Tar.encode()),
        Stream.runCollect,
        Effect.map((chunks) => new Uint8Array(Buffer.concat(chunks)))
      )
      assert.strictEqual(yield* verifyTar(bytes), "accepted")
    })
  )

  it.effect("is refused if a size is too large or not that of the content", () =>
    Effect.gen(function* () {
      const bytes = yield* tarOf(yield* archive)
      assert.deepStrictEqual(yield* verifyTar(bytes, { maxFileBytes: 1000 }), refused(first, "tooLarge"))
      // The header of the first segment states another size, with a correct checksum.
      const at = Buffer.from(bytes).indexOf(first)
      for (const size of ["00000000100", "00077777777", "77777777777"]) {
        const lying = bytes.slice()
        lying.set(new TextEncoder().encode(size), at + 124)
        lying.fill(32, at + 148, at + 156)
        const sum = lying.subarray(at, at + 512).reduce((total, byte) => total + byte, 0)
        lying.set(new TextEncoder().encode(`${sum.toString(8).padStart(6, "0")}\0 `), at + 148)
        assert.notStrictEqual(yield* verifyTar(lying), "accepted", size)
      }
    })
  )

  it.effect.prop(
    "of any bytes is refused, and never a defect",
    [Arbitrary.schema(Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))))],
    ([bytes]) =>
      Effect.map(verifyTar(Uint8Array.from(bytes)), (result) => assert.notStrictEqual(result, "accepted"))
  )
})

describe("a compressed archive", () => {
  it.effect("is accepted, and refused if it is damaged", () =>
    Effect.gen(function* () {
      const files = yield* archives.archiveOf(segmentsOf(rows), { tenantId, compression: "gzip" })
      assert.deepStrictEqual(files[1]?.name, `${first}.gz`)
      assert.strictEqual(yield* verify(files), "accepted")
      const damaged = archives.changing(files, {
        [`${first}.gz`]: (file) => [{ ...file, bytes: file.bytes.slice(0, -20) }]
      })
      assert.deepStrictEqual(yield* verify(damaged), refused(`${first}.gz`, "changed"))
      const plain = archives.changing(files, {
        [`${first}.gz`]: (file) => [{ ...file, bytes: new Uint8Array(99) }]
      })
      assert.deepStrictEqual(yield* verify(plain), refused(`${first}.gz`, "changed"))
    })
  )

  it.effect("is refused before a small file fills the memory", () =>
    Effect.gen(function* () {
      const files = yield* archives.archiveOf([rows], { tenantId, compression: "gzip" })
      const bomb = gzipSync(Buffer.alloc(64 << 20), { level: 1 })
      assert.isBelow(bomb.length, 1 << 20)
      const before = process.memoryUsage().arrayBuffers
      let peak = 0
      const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().arrayBuffers)), 1)
      const result = yield* verify(
        archives.changing(files, { [`${first}.gz`]: (file) => [{ ...file, bytes: bomb }] }),
        { maxFileBytes: 2 << 20 }
      )
      clearInterval(watch)
      assert.deepStrictEqual(result, refused(`${first}.gz`, "tooLarge"))
      assert.isBelow(peak - before, 32 << 20)
    })
  )

  const hasZstd = "zstdCompress" in (process.getBuiltinModule("node:zlib") as object)
  it.effect("with zstd is accepted where the runtime has it, and refused with a remedy elsewhere", () =>
    Effect.gen(function* () {
      const made = yield* Effect.result(
        archives.archiveOf(segmentsOf(rows), { tenantId, compression: "zstd" })
      )
      if (hasZstd) {
        assert.strictEqual(yield* verify(Result.getOrThrow(made)), "accepted")
        return
      }
      assert.include(Result.isFailure(made) ? made.failure.message : "", "gzip")
      const [header] = yield* archives.archiveOf([], { tenantId, compression: "zstd" })
      assert.isDefined(header)
      const bytes = new Uint8Array(9)
      assert.deepStrictEqual(
        yield* verify([header, { name: `${first}.zst`, bytes }]),
        refused(`${first}.zst`, "unsupported")
      )
    })
  )
})

describe("a segment", () => {
  /** The lines and bytes of the segments, however many lines come at once. */
  const cutInto = (lines: ReadonlyArray<string>) => {
    const sizes = [Math.ceil(lines.length / 60), 1000].map((atOnce) => {
      const cutter = new Cutter(String)
      const complete: Array<Lines | undefined> = []
      for (let from = 0; from < lines.length; from += atOnce)
        complete.push(...cutter.add(lines.slice(from, from + atOnce)))
      complete.push(cutter.take())
      return complete.flatMap((segment) =>
        segment === undefined ? [] : [[segment.lines, segment.bytes.length]]
      )
    })
    for (const other of sizes) assert.deepStrictEqual(other, sizes[0])
    return sizes[0]
  }

  it("ends at 65,536 lines or 16 MiB, and has one line if that is larger", () => {
    assert.deepStrictEqual(cutInto([]), [])
    assert.deepStrictEqual(cutInto(Array.from({ length: 65_536 }, () => "x")), [[65_536, 131_072]])
    assert.deepStrictEqual(cutInto(Array.from({ length: 65_537 }, () => "x")), [
      [65_536, 131_072],
      [1, 2]
    ])
    const mebibyte = "x".repeat((1 << 20) - 1)
    assert.deepStrictEqual(cutInto(Array.from({ length: 17 }, () => mebibyte)), [
      [16, 16 << 20],
      [1, 1 << 20]
    ])
    const larger = "é".repeat(9 << 20)
    assert.deepStrictEqual(cutInto(["a", larger, "b"]), [
      [1, 2],
      [1, (18 << 20) + 1],
      [1, 2]
    ])
  })
})
