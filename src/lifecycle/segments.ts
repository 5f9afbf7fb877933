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

/** Number of characters that are encoded at once, because each call takes time. */
const together = 32 << 10

/** The first size of a buffer in bytes. */
const firstSize = 64 << 10

/** Room behind the lines of a segment, in which the line that describes it usually fits. */
const roomForDescription = 1024

const lineBreak = 10

/** Lines in UTF-8, each with its line break. */
export interface Lines {
  /** Nobody else uses the bytes behind them in their buffer. */
  readonly bytes: Uint8Array
  readonly lines: number
}

/** A buffer of at least the given size with the first bytes of another one. */
const grown = (buffer: Uint8Array, length: number, size: number): Uint8Array => {
  const larger = new Uint8Array(size)
  larger.set(buffer.subarray(0, length))
  return larger
}

/** Rows as lines in UTF-8. */
export const linesOf = <A>(rows: ReadonlyArray<A>, lineOf: (row: A) => string): Lines => {
  let text = ""
  for (const row of rows) text += `${lineOf(row)}\n`
  return { bytes: utf8.encode(text), lines: rows.length }
}

/** The bytes of the first lines, at most so many of both. At least one line, if `first`. */
const firstLines = (
  bytes: Uint8Array,
  { first, most, mostLines }: { readonly first: boolean; readonly most: number; readonly mostLines: number }
): Lines => {
  let length = 0
  let lines = 0
  while (lines < mostLines && length < bytes.length) {
    const end = bytes.indexOf(lineBreak, length) + 1
    if (end > most && !(first && lines === 0)) break
    length = end
    lines++
  }
  return { bytes: bytes.subarray(0, length), lines }
}

/** Collects rows into segments of lines. Lines are encoded where they stay, because each copy, and each buffer, takes time. */
export class Cutter<A> {
  readonly #lineOf: (row: A) => string
  #buffer: Uint8Array = new Uint8Array(0)
  #length = 0
  #lines = 0

  constructor(lineOf: (row: A) => string) {
    this.#lineOf = lineOf
  }

  /** The lines that make no complete segment; undefined if there are none. */
  take(): Lines | undefined {
    if (this.#lines === 0) return undefined
    const lines: Lines = { bytes: this.#buffer.subarray(0, this.#length), lines: this.#lines }
    this.#buffer = new Uint8Array(0)
    this.#length = 0
    this.#lines = 0
    return lines
  }

  /** Adds rows. Returns the segments that are complete before the last of them. */
  *add(rows: ReadonlyArray<A>): Generator<Lines> {
    let text = ""
    let lines = 0
    for (const row of rows) {
      text += `${this.#lineOf(row)}\n`
      lines++
      if (text.length < together) continue
      yield* this.#addText(text, lines)
      text = ""
      lines = 0
    }
    if (lines > 0) yield* this.#addText(text, lines)
  }

  *#addText(text: string, lines: number): Generator<Lines> {
    // a UTF-16 unit has at most three bytes
    const most = this.#length + text.length * 3
    if (most <= segmentLimits.bytes && this.#lines + lines <= segmentLimits.lines) {
      this.#reserve(most)
      this.#length += utf8.encodeInto(text, this.#buffer.subarray(this.#length)).written
      this.#lines += lines
    } else yield* this.#addBytes({ bytes: utf8.encode(text), lines })
  }

  /** Adds lines among which a segment may end. */
  *#addBytes({ bytes, lines }: Lines): Generator<Lines> {
    for (let [left, rest] = [lines, bytes]; left > 0;) {
      const [most, mostLines] = [segmentLimits.bytes - this.#length, segmentLimits.lines - this.#lines]
      if (left <= mostLines && rest.length <= most) return this.#append({ bytes: rest, lines: left })
      const some = firstLines(rest, { first: this.#lines === 0, most, mostLines })
      this.#append(some)
      left -= some.lines
      rest = rest.subarray(some.bytes.length)
      const complete = left > 0 ? this.take() : undefined
      if (complete !== undefined) yield complete
    }
  }

  #append({ bytes, lines }: Lines): void {
    this.#reserve(this.#length + bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
    this.#lines += lines
  }

  #reserve(bytes: number): void {
    const size = bytes + roomForDescription
    if (size > this.#buffer.length) this.#buffer = grown(this.#buffer, this.#length, sizeFor(size))
  }
}

/** The size of a segment's buffer. It grows in few steps, because each is a copy, and much memory for the collector. */
const sizeFor = (bytes: number): number =>
  bytes <= 16 * firstSize ? 16 * firstSize : Math.max(bytes, segmentLimits.bytes + roomForDescription)

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
