/** The part of a file system that the file of a key vault needs, on that of Node. */
import { ByteSize, Effect, FileSystem, Layer, Option, PlatformError } from "effect"
import * as fs from "node:fs/promises"

const attempt = <A>(method: string, path: string, run: () => Promise<A>) =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => {
      const code = cause instanceof Error && "code" in cause ? cause.code : undefined
      return PlatformError.systemError({
        _tag: code === "ENOENT" ? "NotFound" : code === "EACCES" ? "PermissionDenied" : "Unknown",
        module: "FileSystem",
        method,
        pathOrDescriptor: path
      })
    }
  })

const infoOf = ({ ino, size }: { readonly ino: number; readonly size: number }): FileSystem.File.Info =>
  ({ ino: Option.some(BigInt(ino)), size: ByteSize.bytes(size) }) as unknown as FileSystem.File.Info

/** Changes the writes of files, to imitate a failing disk. */
export type Writes = (path: string, bytes: Uint8Array) => Uint8Array

const makeFiles = (writes: Writes) =>
  FileSystem.makeNoop({
    exists: (path) =>
      Effect.promise(() =>
        fs.access(path).then(
          () => true,
          () => false
        )
      ),
    stat: (path) =>
      Effect.map(
        attempt("stat", path, () => fs.stat(path)),
        infoOf
      ),
    open: (path, { flag = "r", mode } = {}) =>
      Effect.map(
        Effect.acquireRelease(
          attempt("open", path, () => fs.open(path, flag, mode)),
          (handle) => Effect.promise(() => handle.close())
        ),
        (handle): FileSystem.File => {
          let cursor = 0
          return {
            stat: Effect.map(
              attempt("stat", path, () => handle.stat()),
              infoOf
            ),
            seek: (offset: bigint) => Effect.sync(() => BigInt((cursor = Number(offset)))),
            sync: attempt("sync", path, () => handle.sync()),
            read: (buffer: Uint8Array, options: FileSystem.File.ReadOptions = {}) =>
              Effect.map(
                attempt("read", path, () =>
                  handle.read(buffer, 0, buffer.length, Number(options.position ?? cursor))
                ),
                ({ bytesRead }) => bytesRead
              ),
            writeAll: (bytes: Uint8Array) =>
              attempt("writeAll", path, async () => {
                const written = writes(path, bytes)
                if (flag.startsWith("a")) await handle.appendFile(written)
                else await handle.write(written, 0, written.length, cursor)
                if (written.length < bytes.length) throw Object.assign(new Error("disk"), { code: "ENOSPC" })
              })
          } as unknown as FileSystem.File
        }
      )
  })

export const layerFiles = (writes: Writes = (_path, bytes) => bytes): Layer.Layer<FileSystem.FileSystem> =>
  Layer.succeed(FileSystem.FileSystem, makeFiles(writes))
