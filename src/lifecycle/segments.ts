/** Cuts lines into segments, and ends each with a line that describes it. */
import { Effect } from "effect"
import * as Bytes from "effect/Bytes"
import {
  type ArchiveFile,
  type Compression,
  type Part,
  type Segment,
  segmentLimits,
  segmentName
} from "./archiveFormat.ts"
import { compress, type CompressionUnavailable } from "./compression.ts"
import { digestHex } from "../internal/digest.ts"

const utf8 = new TextEncoder()
const lineFeed = 10
const firstSize = 64 << 10

/** Lines in UTF-8, each with its line break. */
export interface Lines {
  readonly bytes: Uint8Array
  readonly lines: number
}

/** Collects lines into segments. */
export class Cutter {
  #buffer = new Uint8Array(firstSize)
  #length = 0
  #lines = 0

  /** Adds a line. Returns the lines before it if they make a segment. */
  add(line: string): Lines | undefined {
    // A UTF-16 unit has at most three bytes.
    this.#reserve(this.#length + line.length * 3 + 1)
    const { written } = utf8.encodeInto(line, this.#buffer.subarray(this.#length))
    const end = this.#length + written
    this.#buffer[end] = lineFeed
    const isFull = this.#lines === segmentLimits.lines || end + 1 > segmentLimits.bytes
    if (!isFull || this.#lines === 0) {
      this.#length = end + 1
      this.#lines++
      return undefined
    }
    const last = this.#buffer.slice(this.#length, end + 1)
    const complete = this.take()
    this.#reserve(last.length)
    this.#buffer.set(last)
    this.#length = last.length
    this.#lines = 1
    return complete
  }

  /** The lines that make no complete segment; undefined if there are none. */
  take(): Lines | undefined {
    if (this.#lines === 0) return undefined
    const lines: Lines = { bytes: this.#buffer.subarray(0, this.#length), lines: this.#lines }
    this.#buffer = new Uint8Array(firstSize)
    this.#length = 0
    this.#lines = 0
    return lines
  }

  #reserve(size: number): void {
    if (size <= this.#buffer.length) return
    const larger = new Uint8Array(Math.max(size, this.#buffer.length * 2))
    larger.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = larger
  }
}

/** Makes the files of an archive's segments, one after another. */
export class Sealer {
  readonly #compression: Compression | null
  readonly #numbers = new Map<Part, number>()
  /** The description of each segment so far. */
  readonly segments: Array<Segment> = []

  constructor(compression: Compression | null) {
    this.#compression = compression
  }

  seal(part: Part, lines: Lines, table?: string): Effect.Effect<ArchiveFile, CompressionUnavailable> {
    return Effect.gen({ self: this }, function* () {
      const number = (this.#numbers.get(part) ?? 0) + 1
      this.#numbers.set(part, number)
      const segment: Segment = {
        part,
        number,
        ...(table === undefined ? {} : { table }),
        lines: lines.lines,
        bytes: lines.bytes.length,
        sha256: yield* digestHex(lines.bytes),
        previous: this.segments.at(-1)?.sha256 ?? null
      }
      this.segments.push(segment)
      const content = Bytes.concat([lines.bytes, utf8.encode(`${JSON.stringify({ segment })}\n`)])
      return {
        name: segmentName(part, number, this.#compression),
        bytes: yield* compress(this.#compression, content)
      }
    })
  }
}
