/** The events of several storages as one driver. */
import { Effect, type Stream } from "effect"
import * as EventStorage from "../driver/EventStorage.ts"
import { StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { mergedPage, type Placed, type Source } from "./mergedPages.ts"
import { type Backend, type Router, unknownAsUnavailable } from "./router.ts"

const compareTexts = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)

/** `hints` emits when a log in one of the storages may have new events. */
export const make = <M extends Backend>(
  router: Router<M>,
  hints: Stream.Stream<void>
): EventStorage.EventStorage["Service"] => {
  /** A read of one tenant. */
  const read = <A, E, R>(
    operation: string,
    tenantId: TenantId,
    run: (events: EventStorage.EventStorage["Service"]) => Effect.Effect<A, E, R>
  ) => unknownAsUnavailable(operation)(router.ofRegistered(tenantId, ({ events }) => run(events)))

  /** One page of each storage, under an access that is recorded there. */
  const pages = <Row>(
    accessId: string,
    run: (
      events: EventStorage.EventStorage["Service"]
    ) => Effect.Effect<EventStorage.Page<Row>, StorageUnavailable>
  ): Effect.Effect<ReadonlyArray<Source<Row>>, StorageUnavailable> =>
    router.onEvery(accessId, ({ events }) => run(events))

  /**
   * Drops rows that a tenant has left in another storage when it moved: if several storages have rows of a tenant, those of its
   * present storage are kept.
   */
  const keepCurrent = Effect.fnUntraced(function* <Row extends { readonly tenantId: TenantId }>(
    rows: ReadonlyArray<Placed<Row>>
  ) {
    const found = new Map<TenantId, Set<string>>()
    for (const { placement, row } of rows) {
      const placements = found.get(row.tenantId) ?? new Set()
      found.set(row.tenantId, placements.add(placement))
    }
    const current = new Map<TenantId, string>()
    for (const [tenantId, placements] of found) {
      if (placements.size < 2) continue
      const placement = yield* Effect.catchTag(
        router.homeOf(tenantId),
        "TenantRefused",
        () => Effect.undefined
      )
      const [first = ""] = placements
      current.set(tenantId, placement !== undefined && placements.has(placement) ? placement : first)
    }
    return ({ placement, row }: Placed<Row>): boolean =>
      (current.get(row.tenantId) ?? placement) === placement
  })

  return EventStorage.EventStorage.of({
    append: (request) => router.ofTenant(request.tenantId, ({ events }) => events.append(request)),
    readStream: (request) => read("read a stream", request.tenantId, (events) => events.readStream(request)),
    loadStream: (request) => read("load a stream", request.tenantId, (events) => events.loadStream(request)),
    streamEndsWith: (request) =>
      read("confirm a state", request.tenantId, (events) => events.streamEndsWith(request)),
    reserveStream: (request) =>
      // the storage stays open as long as the reservation
      Effect.flatMap(
        router.acquireRegistered(request.tenantId),
        ({ events }) => events.reserveStream?.(request) ?? Effect.succeed(false)
      ).pipe(Effect.orElseSucceed(() => false)),
    forgottenSubjects: (request) =>
      read("read the number of forgotten subjects", request.tenantId, (events) =>
        events.forgottenSubjects(request)
      ),
    readLog: (request) => read("read a log", request.tenantId, (events) => events.readLog(request)),
    // the storage stays open as long as the reader
    openLog: (request) =>
      unknownAsUnavailable("read a log")(
        Effect.flatMap(router.acquireRegistered(request.tenantId), ({ events }) => events.openLog(request))
      ),
    streamVersion: (request) =>
      read("read a version", request.tenantId, (events) => events.streamVersion(request)),
    listStreams: (request) => read("list streams", request.tenantId, (events) => events.listStreams(request)),
    head: (request) => read("read the head of a log", request.tenantId, (events) => events.head(request)),
    eventPosition: (request) =>
      read("find an event", request.tenantId, (events) => events.eventPosition(request)),
    inTransaction: Effect.map(router.current, (transaction) => transaction !== undefined),
    changes: hints,
    commandOutcome: (request) =>
      read("read the outcome of a command", request.tenantId, (events) => events.commandOutcome(request)),
    startHashChain: (tenantId) =>
      router.ofRegistered(tenantId, ({ events }) => events.startHashChain(tenantId)),
    hashChainStart: (tenantId) =>
      read("read the start of a hash chain", tenantId, (events) => events.hashChainStart(tenantId)),
    // A registered tenant is not provisioned again, because the role may lack that right.
    provisionTenant: (tenantId) =>
      unknownAsUnavailable("provision a tenant")(
        router.ofTenant(tenantId, ({ events }) =>
          Effect.flatMap(events.tenantStatus(tenantId), (status) =>
            status === undefined || status === "elsewhere"
              ? events.provisionTenant(tenantId)
              : Effect.succeed(status)
          )
        )
      ),
    tenantStatus: (tenantId) =>
      Effect.catchTag(
        router.ofTenant(tenantId, ({ events }) => events.tenantStatus(tenantId)),
        "TenantRefused",
        () => Effect.undefined
      ),
    movedTo: (tenantId) =>
      read("find the new place of a tenant", tenantId, (events) => events.movedTo(tenantId)),
    recordAccess: (access) => router.recordAccess(access),
    completeAccess: (completion) => router.completeAccess(completion),
    setTenantStatus: (request) =>
      router.ofTenant(request.tenantId, (backend) =>
        Effect.andThen(
          router.requireAccess(backend, request.accessId),
          backend.events.setTenantStatus(request)
        )
      ),
    listTenants: ({ accessId, after, limit }) =>
      mergedPage({
        start: after,
        limit,
        read: (from) => pages(accessId, (events) => events.listTenants({ accessId, after: from, limit })),
        cursorOf: ({ tenantId }): TenantId | undefined => tenantId,
        compare: (one, other) => compareTexts(one.tenantId, other.tenantId),
        keep: keepCurrent
      }),
    readAllLogs: ({ accessId, after, limit }) =>
      mergedPage({
        start: after,
        limit,
        read: (from) => pages(accessId, (events) => events.readAllLogs({ accessId, after: from, limit })),
        cursorOf: ({ tenantId, position }): typeof after => ({ tenantId, position }),
        compare: (one, other) => compareTexts(one.tenantId, other.tenantId) || one.position - other.position,
        keep: keepCurrent
      }),
    usage: (request) =>
      mergedPage({
        start: request.after,
        limit: request.limit,
        read: (from) => pages(request.accessId, (events) => events.usage({ ...request, after: from })),
        cursorOf: ({ tenantId, day }): typeof request.after => ({ tenantId, day }),
        compare: (one, other) => compareTexts(one.tenantId, other.tenantId) || one.day - other.day,
        keep: keepCurrent
      }),
    listAccesses: ({ before, ...request }) =>
      mergedPage({
        start: before,
        limit: request.limit,
        read: (to) => pages(request.accessId, (events) => events.listAccesses({ ...request, before: to })),
        cursorOf: (row): string | undefined => row.accessId,
        compare: (one, other) => compareTexts(other.accessId, one.accessId),
        // an outcome may be recorded in one storage and not yet in another
        keep: (rows) =>
          Effect.sync(() => {
            const completed = new Set(
              rows.flatMap(({ row }) => (row.completed === undefined ? [] : [row.accessId]))
            )
            return ({ row }) => row.completed !== undefined || !completed.has(row.accessId)
          })
      })
  })
}
