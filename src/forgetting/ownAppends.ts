/** The appends of this room, which others may join: an inline projection changes its tables in their transaction. */
import { Effect, type Scope } from "effect"
import type { EventStorage, JoinOwnAppend } from "../driver/EventStorage.ts"

export interface OwnAppends {
  readonly append: EventStorage["Service"]["append"]
  readonly join: (join: JoinOwnAppend) => Effect.Effect<void, never, Scope.Scope>
}

export const makeOwnAppends = (append: EventStorage["Service"]["append"]): OwnAppends => {
  const joined = new Set<JoinOwnAppend>()
  return {
    append: (request) =>
      Effect.suspend(() => {
        let own = append(request)
        for (const join of joined) own = join(request, own)
        return own
      }),
    join: (join) =>
      Effect.acquireRelease(
        Effect.sync(() => void joined.add(join)),
        () => Effect.sync(() => void joined.delete(join))
      )
  }
}
