/** Parts of a store that exist once per client, even if a program builds the store several times. */
import { Effect, Exit, Scope, Semaphore } from "effect"
import type { SqlClient } from "effect/sql"

/** A part of a client with its number of users. */
interface Part<A> {
  readonly turn: Semaphore.Semaphore
  users: number
  made: { readonly value: A; readonly scope: Scope.Closeable } | undefined
}

/**
 * Returns the part of a client with a key. The first caller creates it, with its own services. It ends when the scopes of all
 * callers have ended. A caller waits while it is being created or ended; if creation fails, the next caller tries again.
 */
export const perClient = <A, Args extends ReadonlyArray<unknown>, E, R>(
  make: (client: SqlClient.SqlClient, ...args: Args) => Effect.Effect<A, E, R>,
  keyOf: (...args: Args) => string
): ((
  client: SqlClient.SqlClient,
  ...args: Args
) => Effect.Effect<A, E, Exclude<R, Scope.Scope> | Scope.Scope>) => {
  const clients = new WeakMap<SqlClient.SqlClient, Map<string, Part<A>>>()

  const partOf = (client: SqlClient.SqlClient, key: string): Part<A> => {
    let parts = clients.get(client)
    if (parts === undefined) clients.set(client, (parts = new Map<string, Part<A>>()))
    let part = parts.get(key)
    if (part === undefined)
      parts.set(key, (part = { turn: Semaphore.makeUnsafe(1), users: 0, made: undefined }))
    return part
  }

  const leave = (part: Part<A>): Effect.Effect<void> =>
    part.turn.withPermits(1)(
      Effect.suspend(() => {
        const { made } = part
        if (--part.users > 0 || made === undefined) return Effect.void
        part.made = undefined
        return Scope.close(made.scope, Exit.void)
      })
    )

  return (client, ...args) =>
    Effect.suspend(() => {
      const part = partOf(client, keyOf(...args))
      const found = Effect.suspend(() => {
        if (part.made !== undefined) return Effect.succeed(part.made.value)
        const scope = Scope.makeUnsafe()
        return Scope.provide(make(client, ...args), scope).pipe(
          Effect.tap((value) => Effect.sync(() => void (part.made = { value, scope }))),
          Effect.onExit((exit) => (part.made === undefined ? Scope.close(scope, exit) : Effect.void))
        )
      })
      const enter = Effect.uninterruptible(
        Effect.suspend(() => {
          part.users++
          return Effect.addFinalizer(() => leave(part))
        })
      )
      return part.turn.withPermits(1)(Effect.andThen(enter, found))
    })
}
