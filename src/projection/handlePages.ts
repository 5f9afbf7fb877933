/** Handles the pages of a backlog in the transaction of a claim. */
import { Cause, Clock, type Context, Effect } from "effect"
import type * as Event from "../domain/Event.ts"
import * as EventContext from "../domain/EventContext.ts"
import { storedTypes } from "../domain/storedTypes.ts"
import type * as EventStorage from "../driver/EventStorage.ts"
import type * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import type { ReadError } from "../driver/StoreError.ts"
import { mixedEnvelopes, reportSkipped } from "../store/decode.ts"
import { type BacklogReader, type Batch, wholeLog } from "./backlogReader.ts"
import { HandlerFailed, own, StatementFailed } from "./claimFailures.ts"
import { noteEvents } from "./currentWork.ts"
import * as handlerFailure from "./handlerFailure.ts"
import type * as Projection from "./Projection.ts"

/**
 * Bounds of a transaction with several pages. Other work waits no longer than for these, or for one page if that takes longer: another
 * worker, an operator who stops or rebuilds, and writers of rows that a handler has locked.
 */
export const most = { millis: 1000, events: 10_000 }

/** The end of handled events, and their number. */
export interface Handled {
  readonly position: number
  readonly events: number
}

type Failures = HandlerFailed | StatementFailed | ProjectionStorage.RebuildRefused

/** Handles a claim's events up to a position. Fails at the first event that fails. */
type Handle = (
  projection: Projection.Any,
  claim: ProjectionStorage.Claim,
  upTo: number,
  reader: BacklogReader
) => Effect.Effect<Handled, Failures>

export interface Pages {
  /** The selection of a projection's events after one position, up to another. */
  readonly selection: (batch: Batch) => EventStorage.OpenLogRequest
  /** Handles a page of the events after a position. */
  readonly page: (
    projection: Projection.Any,
    claim: ProjectionStorage.Claim,
    range: { readonly after: number; readonly upTo: number },
    reader?: BacklogReader
  ) => Effect.Effect<Handled, Failures>
  /** Handles a page; several of them if no other work waits. */
  readonly backlog: Handle
}

/** Handlers get the given services, and the tenant of their events. */
export const make = (
  events: EventStorage.EventStorage["Service"],
  storage: ProjectionStorage.ProjectionStorage["Service"],
  services: Context.Context<never>
): Pages => {
  /** Runs a handler for an event, or for several, in the context of the first. */
  const runHandler = (
    { aggregates }: Projection.Any,
    envelopes: readonly [Event.Envelope<Event.Tagged>, ...ReadonlyArray<Event.Envelope<Event.Tagged>>],
    blamed: boolean,
    handler: () => Effect.Effect<unknown, unknown, unknown>
  ): Effect.Effect<unknown, HandlerFailed> =>
    Effect.suspend(handler).pipe(
      EventContext.whileHandling(envelopes[0]),
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the layer's type requires all that handlers require
      Effect.provideContext(services as Context.Context<unknown>),
      // An interruption that arrives here is the handler's own; that of the runner passes it by.
      Effect.catchCause((cause) =>
        Effect.flatMap(
          handlerFailure.failed(storage, envelopes[0].position, cause, blamed, {
            events: envelopes,
            aggregates
          }),
          (failure) => Effect.fail(new HandlerFailed(failure))
        )
      )
    )

  const selection = ({ projection, tenantId, after, upTo }: Batch): EventStorage.OpenLogRequest => ({
    ...wholeLog,
    tenantId,
    fromPosition: after + 1,
    toPosition: upTo,
    aggregateTypes: projection.aggregates.map((aggregate) => aggregate.type),
    eventTypes: storedTypes(projection.aggregates, projection.eventTypes)
  })

  const readPage = (batch: Batch, limit: number): Effect.Effect<EventStorage.LogStep, ReadError> =>
    Effect.map(
      events.readLog({ ...selection(batch), direction: "forwards", limit }),
      ({ complete, rows }) => ({
        rows,
        complete,
        position: complete ? batch.upTo : (rows.at(-1)?.position ?? batch.upTo)
      })
    )

  const handleRows = Effect.fnUntraced(function* (
    projection: Projection.Any,
    tenantId: ProjectionStorage.Claim["tenantId"],
    rows: ReadonlyArray<EventStorage.EventRow>
  ): Effect.fn.Return<void, HandlerFailed> {
    const byType = new Map(projection.aggregates.map((aggregate) => [aggregate.type, aggregate]))
    const page = mixedEnvelopes(tenantId, byType, rows, new Set(projection.eventTypes))
    yield* reportSkipped(page)
    yield* noteEvents(page.events)
    const [first, ...others] = page.events
    if (first !== undefined && projection.handleAll !== undefined) {
      const { events: envelopes } = page
      // If the failed event is unknown, the first one is tried alone next time, then those after it.
      const isOneEvent = envelopes.every(({ position }) => position === first.position)
      yield* runHandler(
        projection,
        [first, ...others],
        isOneEvent,
        () => projection.handleAll?.(envelopes) ?? Effect.void
      )
    } else {
      for (const envelope of page.events)
        yield* runHandler(projection, [envelope], true, () => projection.handle(envelope))
    }
    if (page.failure !== undefined) {
      const { reason } = page.failure
      const failure = yield* handlerFailure.failed(storage, reason.position, Cause.fail(reason), true)
      return yield* Effect.fail(new HandlerFailed(failure))
    }
  })

  /** Fails if the handlers of a rebuild have changed the live read model. */
  const check = (projection: Projection.Any, claim: ProjectionStorage.Claim) =>
    claim.rebuild
      ? Effect.catchTag(storage.checkRebuild(claim, projection.tables), "StorageUnavailable", (error) =>
          Effect.fail(new StatementFailed(error))
        )
      : Effect.void

  /** The next rows, from the reader if it has them. */
  const read = Effect.fnUntraced(function* (
    batch: Batch,
    limit: number,
    alone: boolean,
    reader: BacklogReader | undefined
  ): Effect.fn.Return<EventStorage.LogStep, StatementFailed> {
    const arrived = reader === undefined ? undefined : yield* own(reader.page(batch, limit, alone))
    if (arrived !== undefined) return arrived
    const step = yield* own(readPage(batch, limit))
    if (!step.complete) reader?.expect({ ...batch, after: step.position }, alone)
    return step
  })

  const page: Pages["page"] = Effect.fnUntraced(function* (projection, claim, range, reader) {
    const { alone, rebuild, tenantId } = claim
    const batch = { projection, tenantId, rebuild, ...range }
    const { position, rows } = yield* read(batch, projection.batchSize, alone, reader)
    yield* handleRows(projection, tenantId, rows)
    yield* check(projection, claim)
    return { position, events: rows.length }
  })

  const backlog: Handle = Effect.fnUntraced(function* (projection, claim, upTo, reader) {
    const { alone, rebuild, tenantId } = claim
    const { batchSize } = projection
    const began = yield* Clock.currentTimeMillis
    let { position } = claim
    let handled = 0
    for (let before = began; ;) {
      const batch = { projection, tenantId, rebuild, after: position, upTo }
      const limit = handled === 0 ? batchSize : Math.min(batchSize, most.events - handled)
      const { position: end, rows } = yield* read(batch, limit, alone, reader)
      yield* handleRows(projection, tenantId, rows)
      position = end
      handled += rows.length
      const now = yield* Clock.currentTimeMillis
      const took = now - before
      before = now
      if (position >= upTo || !alone || handled >= most.events || now - began + took >= most.millis) break
    }
    yield* check(projection, claim)
    return { position, events: handled }
  })

  return { selection, page, backlog }
}
