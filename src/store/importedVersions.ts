/**
 * The versions of streams that an import has written, so that the storage need not look them up: a log in the order of time comes
 * back to each stream again and again.
 */
import { Effect } from "effect"
import type {
  AppendReceipt,
  AppendRequest,
  EventQuery,
  EventStorage,
  StreamAppend
} from "../driver/EventStorage.ts"
import { type AppendError, AppendConditionFailed, Conflict, PositionDiverged } from "../driver/StoreError.ts"

/** Streams in each of two generations. Some megabytes, however many streams an import has. */
const mostStreams = 1 << 15

/** Number of chunks, at most, for which the versions of a log that others append to are not remembered. */
const longestPause = 64

/** Every event matches it. */
const anyEvent: EventQuery = [{ eventTypes: undefined, tags: [] }]

type Versions = Map<string, Map<string, number>>

/**
 * Remembers versions as of the end of the log. They are sent under the condition that the log still ends there, by position and
 * event id: another writer, or a database that was restored from a backup, makes the storage refuse them. The append is then sent
 * without them, and remembering begins anew.
 */
export class ImportedVersions {
  #end: { readonly after: number; readonly afterEventId: string } | undefined
  #recent: Versions = new Map()
  #earlier: Versions = new Map()
  #streams = 0
  /** Number of chunks until versions are remembered again. */
  #rest = 0
  #pause = 1

  /** Appends a chunk, with the versions that are known. */
  append(
    storage: EventStorage["Service"],
    request: AppendRequest
  ): Effect.Effect<AppendReceipt, AppendError> {
    return Effect.suspend(() => {
      const end = this.#end
      if (end === undefined) return this.#plainly(storage, request)
      const conditions = [{ query: anyEvent, ...end }]
      const knownVersions = request.streams.map((stream) => this.#versionOf(stream))
      return Effect.matchEffect(storage.append({ ...request, conditions, knownVersions }), {
        onFailure: (error) => {
          if (!isMoved(error)) return Effect.fail(error)
          this.#forget()
          this.#rest = this.#pause
          this.#pause = Math.min(this.#pause * 2, longestPause)
          return this.#plainly(storage, request)
        },
        onSuccess: (receipt) => {
          this.#pause = 1
          this.#remember(request, receipt)
          return Effect.succeed(receipt)
        }
      })
    })
  }

  #plainly(
    storage: EventStorage["Service"],
    request: AppendRequest
  ): Effect.Effect<AppendReceipt, AppendError> {
    return Effect.tap(storage.append(request), (receipt) =>
      Effect.sync(() => {
        if (this.#rest > 0) this.#rest--
        else this.#remember(request, receipt)
      })
    )
  }

  #forget(): void {
    this.#end = undefined
    this.#recent = new Map()
    this.#earlier = new Map()
    this.#streams = 0
  }

  #versionOf({ aggregateId, aggregateType }: StreamAppend): number | undefined {
    return (
      this.#recent.get(aggregateType)?.get(aggregateId) ?? this.#earlier.get(aggregateType)?.get(aggregateId)
    )
  }

  #remember({ streams }: AppendRequest, { positions, replayed, versions }: AppendReceipt): void {
    const after = positions.at(-1)
    const afterEventId = streams.at(-1)?.events.at(-1)?.eventId
    // Events that were stored before need not be the last ones.
    if (replayed || after === undefined || afterEventId === undefined) return this.#forget()
    this.#end = { after, afterEventId }
    let written = 0
    for (const { aggregateId, aggregateType, events } of streams) {
      written += events.length
      const version = versions[written - 1]
      if (version === undefined) continue
      let ofType = this.#recent.get(aggregateType)
      if (ofType === undefined) this.#recent.set(aggregateType, (ofType = new Map<string, number>()))
      const size = ofType.size
      ofType.set(aggregateId, version)
      this.#streams += ofType.size - size
    }
    if (this.#streams < mostStreams) return
    this.#earlier = this.#recent
    this.#recent = new Map()
    this.#streams = 0
  }
}

/** The log does not end any more where the versions are known. */
const isMoved = (error: AppendError): boolean =>
  error instanceof PositionDiverged ||
  (error instanceof Conflict && error.reason instanceof AppendConditionFailed)
