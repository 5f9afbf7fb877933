/** Compression of single files of an archive. */
import { Effect, Schema, Stream } from "effect"
import * as Bytes from "effect/Bytes"
import type { Compression } from "./archiveFormat.ts"

/** Raised when this JavaScript runtime cannot compress in the requested way. Use `gzip`, or a newer runtime. */
export class CompressionUnavailable extends Schema.TaggedError<CompressionUnavailable>()(
  "CompressionUnavailable",
  { compression: Schema.Literals(["gzip", "zstd"]) }
) {
  override get message(): string {
    return `this runtime has no ${this.compression}: use "gzip", or Node 22.15 or newer for "zstd"`
  }
}

/** The functions of Node for zstd, from Node 22.15 on. Without an import, because this room runs on every platform. */
const zstd = () => {
  const zlib = globalThis.process?.getBuiltinModule?.("node:zlib")
  return zlib === undefined || !("zstdCompress" in zlib) ? undefined : zlib
}

const piped = (
  bytes: Uint8Array,
  through: CompressionStream | DecompressionStream
): ReadableStream<Uint8Array> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the types of the platform and of Node differ in the buffer
  new Blob([bytes as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(through as ReadableWritablePair<Uint8Array, Uint8Array<ArrayBuffer>>)

export const compress = (
  compression: Compression | null,
  bytes: Uint8Array
): Effect.Effect<Uint8Array, CompressionUnavailable> => {
  if (compression === null) return Effect.succeed(bytes)
  if (compression === "gzip")
    return Effect.map(
      Effect.promise(() => new Response(piped(bytes, new CompressionStream("gzip"))).arrayBuffer()),
      (buffer) => new Uint8Array(buffer)
    )
  const zlib = zstd()
  return zlib === undefined
    ? Effect.fail(new CompressionUnavailable({ compression }))
    : Effect.callback((resume) => {
        zlib.zstdCompress(bytes, (error, compressed) =>
          resume(error === null ? Effect.succeed(compressed) : Effect.die(error))
        )
      })
}

/** Uncompressed bytes are refused as soon as they exceed the limit, so that a small file cannot fill the memory. */
export const decompress = (
  compression: Compression | null,
  bytes: Uint8Array,
  limit: number
): Effect.Effect<Uint8Array, "tooLarge" | "damaged" | "unsupported"> => {
  if (compression === null) return bytes.length > limit ? Effect.fail("tooLarge") : Effect.succeed(bytes)
  if (compression === "gzip")
    return Stream.fromReadableStream({
      evaluate: () => piped(bytes, new DecompressionStream("gzip")),
      onError: () => "damaged" as const
    }).pipe(
      Stream.runFoldEffect(
        () => ({ chunks: new Array<Uint8Array>(), length: 0 }),
        ({ chunks, length }, chunk) =>
          length + chunk.length > limit
            ? Effect.fail("tooLarge" as const)
            : Effect.sync(() => {
                chunks.push(chunk)
                return { chunks, length: length + chunk.length }
              })
      ),
      Effect.map(({ chunks }) => Bytes.concat(chunks))
    )
  const zlib = zstd()
  return zlib === undefined
    ? Effect.fail("unsupported")
    : Effect.callback((resume) => {
        zlib.zstdDecompress(bytes, { maxOutputLength: limit }, (error, content) =>
          resume(
            error === null
              ? Effect.succeed(content)
              : Effect.fail("code" in error && error.code === "ERR_BUFFER_TOO_LARGE" ? "tooLarge" : "damaged")
          )
        )
      })
}
