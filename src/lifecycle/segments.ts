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
const firstSize = 64 << 10

/** Number of characters that are encoded at once, because each call takes time. */
const together = 32 << 10

/** Room behind the lines of a segment, in which the line that describes it usually fits. */
const roomForDescription = 1024

/** A segment fits into so many bytes, with room for the characters that are encoded last. */
const fullSize = segmentLimits.bytes + 3 * together + roomForDescription

/** The size of a buffer of at least so many bytes. It grows in few steps, because each is a copy, and much memory for the collector. */
const sizeFor = (bytes: number): number =>
  bytes <= 16 * firstSize ? 16 * firstSize : Math.max(bytes, fullSize)

/** Lines in UTF-8, each with its line break. */
export interface Lines {
  /** Nobody else uses the bytes behind them in their buffer. */
  readonly bytes: Uint8Array
  readonly lines: number
}

/** Collects lines into segments. */
export class Cutter {
  #buffer = new Uint8Array(firstSize)
  #length = 0
  #lines = 0
  /** Lines that are not encoded yet. All of them fit into the segment. */
  #waiting = ""

  /** Adds a line. Returns the lines before it if they make a segment. */
  add(line: string): Lines | undefined {
    // A UTF-16 unit has at most three bytes.
    const most = (this.#waiting.length + line.length + 1) * 3
    if (this.#lines < segmentLimits.lines && this.#length + most <= segmentLimits.bytes) {
      this.#waiting += `${line}\n`
      this.#lines++
      if (this.#waiting.length >= together) this.#encode()
      return undefined
    }
    return this.#addExactly(line)
  }

  /** Near the end of a segment its exact size matters. */
  #addExactly(line: string): Lines | undefined {
    this.#encode()
    const before = this.#length
    this.#waiting = `${line}\n`
    this.#encode()
    const isFull = this.#lines === segmentLimits.lines || this.#length > segmentLimits.bytes
    if (!isFull || this.#lines === 0) {
      this.#lines++
      return undefined
    }
    const last = this.#buffer.slice(before, this.#length)
    this.#length = before
    const complete = this.take()
    // The next segment is probably as large.
    this.#buffer = new Uint8Array(sizeFor(Math.max(segmentLimits.bytes, last.length) + roomForDescription))
    this.#buffer.set(last)
    this.#length = last.length
    this.#lines = 1
    return complete
  }

  /** The lines that make no complete segment; undefined if there are none. */
  take(): Lines | undefined {
    if (this.#lines === 0) return undefined
    this.#encode()
    const lines: Lines = { bytes: this.#buffer.subarray(0, this.#length), lines: this.#lines }
    this.#buffer = new Uint8Array(firstSize)
    this.#length = 0
    this.#lines = 0
    return lines
  }

  #encode(): void {
    const text = this.#waiting
    this.#waiting = ""
    const size = this.#length + text.length * 3 + roomForDescription
    if (size > this.#buffer.length) {
      const larger = new Uint8Array(sizeFor(size))
      larger.set(this.#buffer.subarray(0, this.#length))
      this.#buffer = larger
    }
    this.#length += utf8.encodeInto(text, this.#buffer.subarray(this.#length)).written
  }
}

/** Lines with one more behind them; in their own buffer if it has room. */
const withLine = ({ bytes }: Lines, line: string): Uint8Array => {
  const last = utf8.encode(line)
  if (bytes.byteOffset + bytes.length + last.length > bytes.buffer.byteLength)
    return Bytes.concat([bytes, last])
  const whole = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length + last.length)
  whole.set(last, bytes.length)
  return whole
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
      const content = withLine(lines, `${JSON.stringify({ segment })}\n`)
      return {
        name: segmentName(part, number, this.#compression),
        bytes: yield* compress(this.#compression, content)
      }
    })
  }
}
