/** Reads the dead letters of a tenant with their causes. */
import { Effect } from "effect"
import type {
  Administered,
  AdministrationStorage,
  DeadLetterRow,
  WorkRow
} from "../driver/AdministrationStorage.ts"
import type { FailureRecord, ProjectionStorage } from "../driver/ProjectionStorage.ts"
import type { ReadError, StorageUnavailable } from "../driver/StoreError.ts"

const pageSize = 500

/** Identifies a version of a projection. */
export const keyOf = ({ projection, version }: Pick<WorkRow, "projection" | "version">): string =>
  JSON.stringify([projection, version])

/** The cause of a dead letter; parts of it are null if it is no longer kept. */
export interface LetterCause {
  readonly kind: FailureRecord["kind"] | null
  /** Summary of the failure. */
  readonly error: string
  /** The first frame of the stack. */
  readonly frame: string | null
}

/** Dead letters that were not discarded, in the order of projection, version and position. */
export const readLetters = Effect.fnUntraced(function* (
  administration: AdministrationStorage["Service"],
  at: Administered,
  limit: number
): Effect.fn.Return<
  { readonly letters: ReadonlyArray<DeadLetterRow>; readonly complete: boolean },
  StorageUnavailable
> {
  const letters: Array<DeadLetterRow> = []
  let complete = false
  for (let after = 0; !complete && after < limit;) {
    const page = yield* administration.readDeadLetters({
      ...at,
      after,
      limit: Math.min(pageSize, limit - after)
    })
    for (const letter of page.rows) if (letter.discarded === undefined) letters.push(letter)
    after += page.rows.length
    complete = page.complete || page.rows.length === 0
  }
  return { letters, complete }
})

/** Where the failure arose, without the message before it. */
const frameOf = (cause: FailureRecord | undefined): string | null =>
  cause?.stack
    .split("\n")
    .map((line) => line.trim())
    .find((line) => line.startsWith("at ")) ?? null

/** The causes of dead letters. */
export const causesOf = Effect.fnUntraced(function* (
  projections: ProjectionStorage["Service"],
  at: Administered,
  letters: ReadonlyArray<DeadLetterRow>
): Effect.fn.Return<(letter: DeadLetterRow) => LetterCause, ReadError> {
  const causes = new Map<string, FailureRecord>()
  for (const key of new Map(letters.map((letter) => [keyOf(letter), letter])).values())
    for (const failure of yield* projections.failures({
      ...at,
      projection: key.projection,
      version: key.version
    }))
      if (!failure.rebuild) causes.set(JSON.stringify([keyOf(key), failure.position]), failure)
  return (letter) => {
    const cause = causes.get(JSON.stringify([keyOf(letter), letter.position]))
    return { kind: cause?.kind ?? null, error: letter.error, frame: frameOf(cause) }
  }
})
