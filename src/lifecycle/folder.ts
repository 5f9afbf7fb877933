/** An archive as a folder of files. */
import { Effect, FileSystem, type PlatformError, Stream } from "effect"
import type { ArchiveFile } from "./archiveFormat.ts"
import { InvalidArchive } from "./invalidArchive.ts"
import { defaultMaxFileBytes } from "./verification.ts"

/** Writes the files into a folder, which is created if it does not exist. Files of the same names are replaced. */
export const writeFolder =
  (path: string) =>
  <E, R>(
    files: Stream.Stream<ArchiveFile, E, R>
  ): Effect.Effect<void, E | PlatformError.PlatformError, R | FileSystem.FileSystem> =>
    Effect.gen(function* () {
      const fileSystem = yield* FileSystem.FileSystem
      yield* fileSystem.makeDirectory(path, { recursive: true })
      yield* Stream.runForEach(files, ({ bytes, name }) => {
        const target = `${path}/${name}`
        // A killed export leaves no file that is cut off.
        return Effect.andThen(
          fileSystem.writeFile(`${target}.part`, bytes),
          fileSystem.rename(`${target}.part`, target)
        )
      })
    })

/** The files of a folder, in the order of their names. Files that are too large are refused before they are read. */
export const readFolder = (
  path: string,
  { maxFileBytes = defaultMaxFileBytes }: { readonly maxFileBytes?: number | undefined } = {}
): Stream.Stream<ArchiveFile, InvalidArchive | PlatformError.PlatformError, FileSystem.FileSystem> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const fileSystem = yield* FileSystem.FileSystem
      const names = (yield* fileSystem.readDirectory(path)).toSorted((left, right) => (left < right ? -1 : 1))
      return Stream.fromIterable(names).pipe(
        Stream.mapEffect((name) =>
          Effect.gen(function* () {
            const file = `${path}/${name}`
            const { size } = yield* fileSystem.stat(file)
            if (size > maxFileBytes)
              return yield* new InvalidArchive({
                file: name,
                line: null,
                reason: "tooLarge",
                problem: `has ${size} bytes, more than ${maxFileBytes}: if you trust the archive, raise maxFileBytes`
              })
            return { name, bytes: yield* fileSystem.readFile(file) }
          })
        )
      )
    })
  )
