/** Helpers of the suite for projection storages: tenants with events, and work on them. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect, Option, Schedule } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { EventStorage } from "../../driver/EventStorage.ts"
import {
  type Claim,
  type DeadLetter,
  type Failure,
  type Progress,
  ProjectionStorage,
  type TenantProjection,
  type WorkRequest
} from "../../driver/ProjectionStorage.ts"
import type { AppendError, ReadError, StorageUnavailable } from "../../driver/StoreError.ts"
import { TenantId } from "../../domain/Tenant.ts"

/** The services that the suite needs. */
export type Storages = EventStorage | ProjectionStorage

/** Registers the suite's tests. */
export type It = Vitest.MethodsNonLive<Storages>

/** A new tenant. */
export const newTenant = (): TenantId => TenantId.make(uuidV4Unsafe())

/** The ids of events: the same in every tenant. */
export const eventId = (position: number): string =>
  `00000000-0000-4000-8000-${String(position).padStart(12, "0")}`

/** Appends the given number of events. The tenants of the suite have the same streams and event ids. */
export const append = Effect.fnUntraced(function* (
  tenantId: TenantId,
  count: number
): Effect.fn.Return<number, AppendError, EventStorage> {
  const storage = yield* EventStorage
  const { position: head } = yield* storage.head({ tenantId })
  yield* storage.append({
    tenantId,
    streams: [
      {
        aggregateType: "Case",
        aggregateId: "one",
        expectedVersion: head,
        events: Array.from({ length: count }, (_, index) => ({
          eventId: eventId(head + index + 1),
          eventType: "Happened",
          schemaVersion: 1,
          occurredAt: 1_600_000_000_000,
          actor: null,
          correlationId: "correlation",
          causationId: null,
          metadata: "{}",
          payload: '{"_tag":"Happened"}',
          tags: []
        }))
      }
    ]
  })
  return head + count
})

/** Tenants with the given numbers of events. */
export const tenantsWith = (
  ...counts: ReadonlyArray<number>
): Effect.Effect<Array<TenantId>, AppendError, EventStorage> =>
  Effect.forEach(counts, (count) => {
    const tenantId = newTenant()
    return Effect.as(append(tenantId, count), tenantId)
  })

/** A new projection, with shorthands for work on it. */
export class Projected {
  readonly projection = `suite ${uuidV4Unsafe()}`
  readonly version: number
  readonly request: WorkRequest

  constructor(version = 1, acrossTenants = false, accessId?: string) {
    this.version = version
    this.request = { projections: [{ projection: this.projection, version, acrossTenants }], accessId }
  }

  /** The projection and a tenant. */
  of(tenantId: TenantId): TenantProjection {
    return { projection: this.projection, version: this.version, tenantId }
  }

  /** Claims once, if there is work. */
  readonly tryWork = <A, E, R>(
    body: (claim: Claim) => Effect.Effect<A, E, R>
  ): Effect.Effect<Option.Option<A>, E | StorageUnavailable, R | ProjectionStorage> =>
    ProjectionStorage.use((storage) => storage.work(this.request, body))

  /** Claims once, with retries, because an announcement may hold a row for a moment. */
  readonly work = <A, E, R>(
    body: (claim: Claim) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | StorageUnavailable, R | ProjectionStorage> =>
    Effect.gen({ self: this }, function* () {
      const storage = yield* ProjectionStorage
      for (let tries = 0; tries < 1000; tries++) {
        const worked = yield* storage.work(this.request, body)
        if (Option.isSome(worked)) return worked.value
        yield* Effect.sleep("5 millis")
        yield* storage.sweep
      }
      return yield* Effect.die(new Error("nothing to claim"))
    })

  /** Claims and does nothing. */
  readonly look: Effect.Effect<Claim, StorageUnavailable, ProjectionStorage> = Effect.suspend(() =>
    this.work(Effect.succeed)
  )

  /** Claims until the wanted row is served; the others are served without work. */
  readonly when = <A, E, R>(
    meant: (claim: Claim) => boolean,
    body: (claim: Claim) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | ReadError, R | ProjectionStorage> =>
    Effect.gen({ self: this }, function* () {
      const storage = yield* ProjectionStorage
      while (true) {
        const worked = yield* this.work<Option.Option<A>, E | ReadError, R>((claim) =>
          meant(claim)
            ? Effect.asSome(body(claim))
            : Effect.as(storage.advance(claim, claim.position), Option.none<A>())
        )
        if (Option.isSome(worked)) return worked.value
        yield* storage.sweep
      }
    })

  /** Claims until a tenant is served. */
  readonly on = <A, E, R>(
    tenantId: TenantId,
    body: (claim: Claim) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | ReadError, R | ProjectionStorage> =>
    this.when((claim) => claim.tenantId === tenantId, body)

  /** Waits until the storage offers work for each of these tenants. */
  readonly known = (tenants: ReadonlyArray<TenantId>): Effect.Effect<void, ReadError, ProjectionStorage> =>
    Effect.forEach(tenants, (tenantId) => this.on(tenantId, Effect.succeed), { discard: true })

  /** Waits until a tenant comes first. */
  readonly firstIs = (tenantId: TenantId): Effect.Effect<void, StorageUnavailable, ProjectionStorage> =>
    eventually(Effect.map(this.look, (claim) => assert.strictEqual(claim.tenantId, tenantId)))

  /** Claims and moves the checkpoint by the given number of events, or to the head of the claim. */
  readonly step = (count = Number.MAX_SAFE_INTEGER): Effect.Effect<Claim, ReadError, ProjectionStorage> =>
    this.work((claim) =>
      ProjectionStorage.use((storage) =>
        Effect.as(storage.advance(claim, Math.min(claim.position + count, claim.head)), claim)
      )
    )

  /** Claims and records a failure of the next event. */
  readonly fail = (
    retryIn: number | undefined,
    error?: string
  ): Effect.Effect<Claim, ReadError, ProjectionStorage> => this.work(failNext(retryIn, error))

  /** Claims and records the next event as a dead letter. */
  readonly putAside = (letter?: Partial<DeadLetter>): Effect.Effect<Claim, ReadError, ProjectionStorage> =>
    this.work(putNextAside(letter))

  /** Fails if there is work, also after a sweep of all logs. */
  readonly idle: Effect.Effect<void, StorageUnavailable, ProjectionStorage> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      yield* ProjectionStorage.use((storage) => storage.sweep)
      const worked = yield* this.tryWork(Effect.succeed)
      assert.deepStrictEqual(Option.getOrUndefined(worked), undefined)
    })
  )

  /** The positions of all dead letters. */
  readonly letters = (tenantId: TenantId): Effect.Effect<Array<number>, ReadError, ProjectionStorage> =>
    ProjectionStorage.use((storage) =>
      storage.deadLetters({ ...this.of(tenantId), after: 0, limit: 1000 })
    ).pipe(Effect.map((letters) => letters.map(({ position }) => position)))

  /** The progress for a tenant, live and of a rebuild. */
  readonly progress = (
    tenantId: TenantId
  ): Effect.Effect<
    { readonly live: Progress | undefined; readonly rebuild: Progress | undefined },
    ReadError,
    ProjectionStorage
  > =>
    ProjectionStorage.use((storage) => storage.progress(this.of(tenantId))).pipe(
      Effect.map((rows) => ({
        live: rows.find(({ rebuild }) => !rebuild),
        rebuild: rows.find(({ rebuild }) => rebuild)
      }))
    )
}

/** A failure of a handler, without a cause. */
export const failing = (
  retryIn: number | undefined
): Pick<Failure, "kind" | "waited" | "parked" | "retryIn" | "cause"> => ({
  kind: "handler",
  waited: 0,
  parked: retryIn === undefined,
  retryIn,
  cause: undefined
})

/** In work: records a failure of the next event. */
export const failNext =
  (retryIn: number | undefined, error = "Error: broken") =>
  (claim: Claim): Effect.Effect<Claim, ReadError, ProjectionStorage> =>
    ProjectionStorage.use((storage) => {
      const attempts = claim.attempts + 1
      const failure = { position: claim.position + 1, attempts, error, ...failing(retryIn) }
      return Effect.as(storage.fail({ claim, ...failure }), claim)
    })

/** In work: records the next event as a dead letter and continues behind it. */
export const putNextAside =
  (fields: Partial<DeadLetter> = {}) =>
  (claim: Claim): Effect.Effect<Claim, ReadError, ProjectionStorage> =>
    Effect.gen(function* () {
      const storage = yield* ProjectionStorage
      const position = claim.position + 1
      const letter = { position, eventId: eventId(position), error: "Error: broken", attempts: 3, ...fields }
      yield* storage.addDeadLetter(claim, letter)
      yield* storage.advance(claim, position)
      return claim
    })

/** A new projection, without work left by other tests. */
export const newProjection = Effect.fnUntraced(function* (
  ...options: ConstructorParameters<typeof Projected>
): Effect.fn.Return<Projected, StorageUnavailable, ProjectionStorage> {
  const projected = new Projected(...options)
  const storage = yield* ProjectionStorage
  const { projection, version } = projected
  yield* storage
    .register([{ projection, version, startAt: "now", tables: [] }])
    .pipe(Effect.catchTag("ProjectionRefused", Effect.die))
  return projected
})

/** A recorded access, for reads across tenants. */
export const access: Effect.Effect<string, StorageUnavailable, EventStorage> = EventStorage.use((storage) =>
  storage.recordAccess({ actor: "suite", reason: "contract", operation: "test" })
)

/** Two tenants with the same events, in both roles, because the order of ids must not matter. */
export const withNeighbour = <E, R>(
  run: (mine: TenantId, theirs: TenantId) => Effect.Effect<void, E, R>
): Effect.Effect<void, E | AppendError, R | EventStorage> =>
  Effect.forEach(
    [false, true],
    Effect.fnUntraced(function* (reversed) {
      const [first, second] = yield* tenantsWith(3, 3)
      if (first === undefined || second === undefined) return
      yield* reversed ? run(second, first) : run(first, second)
    }),
    { discard: true }
  )

/** Tries an assertion until it holds. */
export const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  effect.pipe(
    Effect.catchDefect((defect) => Effect.fail(new Defect(defect))),
    Effect.retry(Schedule.spaced("10 millis").pipe(Schedule.upTo({ times: 500 }))),
    Effect.catchIf(
      (error): error is Defect => error instanceof Defect,
      ({ defect }) => Effect.die(defect)
    )
  )

class Defect {
  readonly defect: unknown
  constructor(defect: unknown) {
    this.defect = defect
  }
}
