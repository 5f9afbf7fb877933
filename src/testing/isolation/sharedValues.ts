/** Cases in which a program changes values in place that it shares with the library: another tenant must not notice. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import * as Aggregate from "../../domain/Aggregate.ts"
import * as Event from "../../domain/Event.ts"
import * as Repository from "../../store/Repository.ts"
import { as, type Case, ids, Note, observe, read, test, texts, withNeighbour, write } from "./kit.ts"

/** Changes a value and all that is in it, where that can be done. */
const deface = (value: unknown, seen: Set<object> = new Set()): void => {
  if (typeof value !== "object" || value === null || seen.has(value)) return
  seen.add(value)
  for (const member of Object.values(value)) deface(member, seen)
  const changes: ReadonlyArray<() => unknown> = [
    () => (Array.isArray(value) ? value.push("defaced") : Reflect.set(value, "defaced", "defaced")),
    () => "text" in value && Reflect.set(value, "text", "defaced")
  ]
  for (const change of changes) {
    try {
      change()
    } catch {
      // frozen
    }
  }
}

/** The same aggregate with a fold that changes the state in place. */
const Careless = Aggregate.make(
  "Note",
  { id: Note.id, state: Note.state, initial: { texts: [] }, events: Note.events },
  (state, event) => {
    deface(state)
    deface(event)
    return state
  }
)

const load = (id: string) => Repository.Repository.use((repository) => repository.loadOrInitial(Note, id))

const loadCarelessly = (id: string) =>
  Repository.Repository.use((repository) => repository.loadOrInitial(Careless, id))

const decideCarelessly = (id: string) =>
  Repository.Repository.use((repository) =>
    repository.execute(Note, id, (state) => {
      deface(state)
      return []
    })
  )

/** The cases. */
export const sharedValues: ReadonlyArray<Case> = [
  test("37: a fold or a decision that changes a state in place is stopped, or changes nobody's but its own", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const before = [yield* observe.pipe(as(mine)), yield* observe.pipe(as(theirs))]
        const states = Effect.forEach([...ids, "without events"], load)
        const loaded = [yield* states.pipe(as(mine)), yield* states.pipe(as(theirs))]
        for (const stream of [...ids, "without events"]) {
          yield* Effect.exit(loadCarelessly(stream).pipe(as(theirs)))
          yield* Effect.exit(decideCarelessly(stream).pipe(as(theirs)))
        }
        assert.deepStrictEqual([yield* states.pipe(as(mine)), yield* states.pipe(as(theirs))], loaded)
        assert.deepStrictEqual([yield* observe.pipe(as(mine)), yield* observe.pipe(as(theirs))], before)
        assert.deepStrictEqual(Note.initial, { texts: [] })
      })
    )),

  test("37: events that a reader or a writer changes in place are stored and read as they were", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const before = [yield* observe.pipe(as(mine)), yield* observe.pipe(as(theirs))]
        deface(yield* observe.pipe(as(theirs)))
        for (const stream of ids) deface(yield* read(stream).pipe(as(theirs)))
        assert.deepStrictEqual([yield* observe.pipe(as(mine)), yield* observe.pipe(as(theirs))], before)

        // One value for both tenants, as a program may have it, changed between their appends.
        const options = { tags: ["shared"], metadata: { shared: { by: "both" } }, stream: "shared value" }
        deface(yield* write("first", options).pipe(as(theirs)))
        const second = yield* write("second", { stream: "shared value" }).pipe(as(mine))
        const [event] = second.events
        assert.deepStrictEqual([event?.tags, event?.metadata], [[], {}])
        deface(second)
        deface(options)
        const stored = yield* read("shared value").pipe(as(theirs))
        assert.deepStrictEqual(texts(stored), ["first"])
        assert.deepStrictEqual(
          [stored[0]?.tags, stored[0]?.metadata],
          [["shared"], { shared: { by: "both" } }]
        )
        yield* write("third", { stream: "shared value", eventId: Event.generateId() }).pipe(as(mine))
        const own = yield* read("shared value").pipe(as(mine))
        assert.deepStrictEqual(texts(own), ["second", "third"])
        for (const { tags, metadata } of own) assert.deepStrictEqual([tags, metadata], [[], {}])
      })
    ))
]
