/** The error of an archive that is damaged, incomplete, forged, or of a newer version. */
import { Schema } from "effect"

/**
 * Raised when an archive is refused, with one of these reasons:
 * - `notAnArchive`: it does not begin like an archive of a tenant.
 * - `newerVersion`: a newer version of the library wrote it. Upgrade the library.
 * - `truncated`: it ends too early. Fetch it again.
 * - `misplaced`: a file is missing, doubled, in the wrong place, or does not belong to an archive, such as one outside its folder.
 * - `tooLarge`: a file, or its uncompressed content, is larger than allowed.
 * - `changed`: the content does not have the stated digest, or the hash chain is broken.
 * - `malformed`: a line or a file is not written in the format.
 * - `inconsistent`: parts of the archive contradict one another, the given anchor, or the part of the log that was imported before.
 * - `unsupported`: this JavaScript runtime cannot read its compression.
 *
 * Nothing of the named file was imported.
 */
export class InvalidArchive extends Schema.TaggedError<InvalidArchive>()("InvalidArchive", {
  /** Name of the file inside the archive. */
  file: Schema.String,
  /** Number of the line: 1, 2, 3 …; null if the problem is not in one line. */
  line: Schema.NullOr(Schema.Int),
  reason: Schema.Literals([
    "notAnArchive",
    "newerVersion",
    "truncated",
    "misplaced",
    "tooLarge",
    "changed",
    "malformed",
    "inconsistent",
    "unsupported"
  ]),
  /** The problem and its remedy. */
  problem: Schema.String
}) {
  override get message(): string {
    const place = this.line === null ? this.file : `${this.file}, line ${this.line}`
    return `the archive is refused: ${place} ${this.problem}`
  }
}
