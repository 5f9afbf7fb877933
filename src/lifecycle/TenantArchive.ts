/**
 * A tenant as an archive: its whole log with the same positions, and everything else that cannot be rebuilt from the log.
 *
 * **Details**
 *
 * An archive is a list of files: a header, segments of JSON lines, and a manifest. {@link exportTar} and {@link importTar} carry
 * it as a stream of bytes, which is one tar file; {@link exportFiles}, {@link writeFolder} and {@link readFolder} as a folder.
 *
 * It has all events with the exact text of payload and metadata, their ids, versions, times, hashes and traces; unexpired command
 * keys; the progress of what acts outside (reactions, outboxes, named subscriptions) with its dead letters; discarded dead
 * letters; the subjects that were forgotten or held; and the rows of carried tables. Read models and snapshots are not in it: the
 * new place builds its own. Sealed fields are in it as they are stored; their keys only if they are asked for.
 *
 * `docs/life-of-a-tenant.md` describes the format.
 */
import { Effect, Stream } from "effect"
import { AdministrationStorage, TenantStateConflict } from "../driver/AdministrationStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantAdministration, TenantId } from "../domain/Tenant.ts"
import { recordAdministration } from "./administer.ts"
import type { ArchiveFile, Manifest } from "./archiveFormat.ts"
import { exportFiles, type ExportError, type ExportOptions } from "./exporting.ts"
import { importFiles, type Imported, type ImportError, type ImportOptions } from "./importing.ts"
import type { InvalidArchive } from "./invalidArchive.ts"
import { fromTar, toTar } from "./tar.ts"
import { type Verification, verified } from "./verification.ts"

export type { ArchiveFile, Compression, Manifest } from "./archiveFormat.ts"
export { CompressionUnavailable } from "./compression.ts"
export type { ArchiveRoot } from "../forgetting/carriedSeals.ts"
export type { ExportError, ExportKeys, ExportOptions } from "./exporting.ts"
export { exportFiles, UndeclaredTables } from "./exporting.ts"
export { readFolder, writeFolder } from "./folder.ts"
export type { Imported, ImportError, ImportOptions, ImportProgress, LogEnd } from "./importing.ts"
export { importFiles } from "./importing.ts"
export { InvalidArchive } from "./invalidArchive.ts"
export type { ImportKeys } from "./sealedArchive.ts"
export { SealedArchive } from "./sealedArchive.ts"
export { fromTar, toTar } from "./tar.ts"
export type { Verification } from "./verification.ts"

/**
 * Exports a tenant as the bytes of one tar file.
 *
 * **Details**
 *
 * The archive ends at the position that the log has when the stream starts. The tenant stays in use. At most two segments (16 MiB
 * each, uncompressed) are in memory, however long the log is.
 *
 * **Example**
 *
 * ```ts
 * const backup = (tenantId: Tenant.TenantId, path: string) =>
 *   TenantArchive.exportTar({ tenantId, compression: "gzip" }).pipe(
 *     Stream.run(sinkOf(path)),
 *     Tenant.provideAdministration({ actor: "operations", reason: "monthly archive" })
 *   )
 * ```
 */
export const exportTar = (
  options: ExportOptions
): Stream.Stream<Uint8Array, ExportError, AdministrationStorage | TenantAdministration> =>
  toTar(exportFiles(options))

/**
 * Imports the bytes of a tar file.
 *
 * **Details**
 *
 * Each segment is verified before its first row is written: its digest, every line, positions, and the hash chain. The tenant is
 * `importing`, and no work can see it, until the manifest at the end is verified; then it gets the status that it had. An import that was
 * killed or failed goes on when it is run again with the same archive.
 *
 * **Gotchas**
 *
 * A digest finds damage, not forgery: somebody who can rewrite the archive can rewrite its digests. Give the `anchor` of the
 * hash chain to prove that the history is the one that you know.
 *
 * Command keys live for the time that they had left at the export, counted from the import.
 */
export const importTar = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  options: ImportOptions = {}
): Effect.Effect<Imported, E | ImportError, R | AdministrationStorage | TenantAdministration> =>
  importFiles(fromTar(bytes, options), options)

/** Verifies the files of an archive as an import does, and writes nothing. Returns its manifest. */
export const verifyFiles = <E, R>(
  files: Stream.Stream<ArchiveFile, E, R>,
  options: Verification = {}
): Effect.Effect<Manifest, E | InvalidArchive, R> =>
  verified(files, options).pipe(
    Stream.runFold(
      () => undefined as Manifest | undefined,
      (manifest, read) => (read.part === "manifest" ? read.manifest : manifest)
    ),
    Effect.flatMap((manifest) =>
      manifest === undefined
        ? Effect.die(new Error("a verified archive ends with a manifest"))
        : Effect.succeed(manifest)
    )
  )

/** Verifies a tar file as an import does, and writes nothing. Returns its manifest. */
export const verifyTar = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  options: Verification = {}
): Effect.Effect<Manifest, E | InvalidArchive, R> => verifyFiles(fromTar(bytes, options), options)

const rowsPerStep = 5000

/**
 * Removes all that an unfinished import has written, so that the tenant's id is free again. Fails with `TenantStateConflict` for
 * a tenant that is not `importing`. Run it again if it fails or is killed.
 */
export const abandonImport = (
  tenantId: TenantId
): Effect.Effect<
  void,
  TenantStateConflict | StorageUnavailable,
  AdministrationStorage | TenantAdministration
> =>
  Effect.gen(function* () {
    const storage = yield* AdministrationStorage
    const accessId = yield* recordAdministration(storage, "abandon import", tenantId)
    const record = yield* storage.tenant({ accessId, tenantId })
    if (record === undefined) return
    if (record.state.status !== "importing")
      return yield* new TenantStateConflict({
        tenantId,
        operation: "abandon import",
        status: record.state.status,
        position: record.position,
        problem: `it is ${record.state.status}: only an unfinished import can be abandoned`
      })
    const step = storage.purge({ accessId, tenantId, token: record.state.token, limit: rowsPerStep })
    while (!(yield* Effect.catchTag(step, "TenantHeld", Effect.die)).complete);
  })
