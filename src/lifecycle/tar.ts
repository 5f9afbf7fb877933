/** An archive as one tar file: the tar of Effect, with the limits and the names of an archive. */
import { Effect, Stream } from "effect"
import * as Bytes from "effect/Bytes"
import * as Tar from "effect/encoding/Tar"
import type { ArchiveFile } from "./archiveFormat.ts"
import { InvalidArchive } from "./invalidArchive.ts"
import { defaultMaxFileBytes } from "./verification.ts"

/** The bytes of a tar file with the files. The same files make the same bytes. */
export const toTar = <E, R>(files: Stream.Stream<ArchiveFile, E, R>): Stream.Stream<Uint8Array, E, R> =>
  files.pipe(
    Stream.map(({ bytes, name }) => Tar.file(name, bytes)),
    Stream.pipeThroughChannelOrFail(Tar.encode<E>()),
    // All names are short and all sizes are exact.
    Stream.catchIf(Tar.isTarError, Stream.die)
  )

const reasons = {
  InvalidHeader: "malformed",
  Truncated: "truncated",
  SizeMismatch: "changed",
  Unsupported: "misplaced",
  BodyConsumed: "malformed"
} as const

const archive = "the tar file"

const refuseTar = (file: string, { kind, message }: Tar.TarError): InvalidArchive =>
  new InvalidArchive({
    file,
    line: null,
    reason: reasons[kind],
    problem: `cannot be read (${message}): fetch it again`
  })

/** The name of a file; undefined for a folder that other tools add. */
const nameOf = ({ path, type }: Tar.Header): string | undefined =>
  type === "Directory" && /^(?:\.\/)?$/.test(path) ? undefined : path.replace(/^\.\//, "")

/**
 * The files of a tar file. Links, folders, paths, and files above the size limit are refused. A file is never larger in memory
 * than the limit, whatever its header states.
 */
export const fromTar = <E, R>(
  bytes: Stream.Stream<Uint8Array, E, R>,
  { maxFileBytes = defaultMaxFileBytes }: { readonly maxFileBytes?: number | undefined } = {}
): Stream.Stream<ArchiveFile, E | InvalidArchive, R> => {
  const refuse = (file: string, reason: InvalidArchive["reason"], problem: string) =>
    Effect.fail(new InvalidArchive({ file, line: null, reason, problem }))
  return bytes.pipe(
    Stream.pipeThroughChannelOrFail(Tar.decode<E>()),
    Stream.mapEffect(
      ({ body, header }): Effect.Effect<ReadonlyArray<ArchiveFile>, E | InvalidArchive | Tar.TarError> => {
        const name = nameOf(header)
        if (name === undefined) return Effect.succeed([])
        if (header.type !== "File" || /[/\\]/.test(name))
          return refuse(
            header.path,
            "misplaced",
            "is a link, a folder, or a path: an archive has plain files only, so do not trust this one"
          )
        if (header.size > maxFileBytes)
          return refuse(
            name,
            "tooLarge",
            `has ${header.size} bytes, more than ${maxFileBytes}: if you trust the archive, raise maxFileBytes`
          )
        return Effect.map(Stream.runCollect(body), (chunks) => [{ name, bytes: Bytes.concat(chunks) }])
      }
    ),
    Stream.mapError((error): E | InvalidArchive =>
      Tar.isTarError(error) ? refuseTar(archive, error) : error
    ),
    Stream.flattenIterable
  )
}
