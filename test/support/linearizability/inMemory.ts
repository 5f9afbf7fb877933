/**
 * A world in memory: two repositories on one store, in which every call takes some turns, and some calls get no answer. Only the
 * seed decides on these, so that a history can be repeated.
 */
import { Context, Effect, Fiber, Layer, Schedule, Schema, Scope, Semaphore } from "effect"
import { createHash } from "node:crypto"
import { CurrentTenant, type TenantId } from "../../../src/domain/Tenant.ts"
import { EventStorage } from "../../../src/driver/EventStorage.ts"
import { ProjectionStorage } from "../../../src/driver/ProjectionStorage.ts"
import { SnapshotStorage } from "../../../src/driver/SnapshotStorage.ts"
import { ConnectionFailed, OutcomeUnknown, StorageUnavailable } from "../../../src/driver/StoreError.ts"
import * as MemoryStorage from "../../../src/memory/MemoryStorage.ts"
import * as EventStore from "../../../src/store/EventStore.ts"
import type { Process, World } from "./history.ts"
import { lossOf } from "./losses.ts"
import { Marked } from "./marks.ts"
import { run, Surroundings } from "./perform.ts"
import { keys, objects, type Plan, randomOf } from "./plan.ts"
import type { RepositoryLayer } from "./repositories.ts"

type Storages = EventStorage | ProjectionStorage | SnapshotStorage

const unavailable = (operation: string): StorageUnavailable =>
  new StorageUnavailable({ reason: new ConnectionFailed({ operation, code: null, retryable: true }) })

const tenantOf = (request: unknown): TenantId | undefined => {
  const found =
    typeof request === "object" && request !== null && "tenantId" in request ? request.tenantId : request
  // only compared with keys
  return typeof found === "string" ? (found as TenantId) : undefined
}

/** A driver whose calls go through a function. */
const through = (
  driver: EventStorage["Service"],
  around: (
    name: string,
    args: ReadonlyArray<unknown>,
    call: (driver: EventStorage["Service"]) => Effect.Effect<unknown, unknown>
  ) => Effect.Effect<unknown, unknown>
): EventStorage["Service"] =>
  // the same members, each within `around`
  Object.fromEntries(
    Object.entries(driver).map(([name, member]: [string, unknown]) => [
      name,
      typeof member !== "function"
        ? member
        : (...args: ReadonlyArray<unknown>) =>
            around(name, args, (chosen) => {
              // every function of a driver returns an effect
              const members = chosen as unknown as {
                readonly [key: string]: (...args: ReadonlyArray<unknown>) => Effect.Effect<unknown, unknown>
              }
              return members[name]?.(...args) ?? Effect.die(new Error(`no ${name}`))
            })
    ])
  ) as unknown as EventStorage["Service"]

/** Waits for some turns of the scheduler. */
const pause = (turns: number): Effect.Effect<void> =>
  turns <= 0 ? Effect.void : Effect.andThen(Effect.yieldNow, pause(turns - 1))

const markOf = Schema.decodeSync(Schema.fromJsonString(Marked))

/** A log, up to a position, in a store of its own. Everything in memory is done at once. */
const copied = Effect.fnUntraced(function* (
  from: Context.Context<Storages>,
  to: Context.Context<Storages>,
  tenantId: TenantId,
  loss: NonNullable<Plan["faults"]["loss"]>
) {
  const [source, target] = [Context.get(from, EventStorage), Context.get(to, EventStorage)]
  const { rows } = yield* source.readLog({
    tenantId,
    fromPosition: 1,
    toPosition: Number.MAX_SAFE_INTEGER,
    recordedFrom: undefined,
    recordedBefore: undefined,
    aggregateTypes: undefined,
    eventTypes: undefined,
    direction: "forwards",
    limit: 10_000
  })
  const outcomes = yield* Effect.forEach(keys, (key) =>
    Effect.map(source.commandOutcome({ tenantId, key }), (row) =>
      row === undefined ? [] : [{ ...row, key }]
    )
  )
  const commands = outcomes.flat()
  const { added, cut, lost } = lossOf(
    rows.map((row) => ({ ...row, mark: markOf(row.payload).mark })),
    commands,
    loss
  )
  const write = (
    rowsOf: typeof rows,
    stream: { readonly aggregateType: string; readonly aggregateId: string },
    command?: (typeof commands)[number]
  ) =>
    target.append({
      tenantId,
      streams: [
        {
          aggregateType: stream.aggregateType,
          aggregateId: stream.aggregateId,
          expectedVersion: "any",
          events: rowsOf.map(({ hash: _hash, traceparent: _traceparent, ...row }) => row)
        }
      ],
      command: command && {
        key: command.key,
        fingerprint: command.fingerprint,
        expiresInMillis: 86_400_000
      }
    })
  for (const row of [undefined, ...rows.slice(0, cut)]) {
    const position = row?.position ?? 0
    const at = commands.filter((command) => command.position === position)
    if (row !== undefined)
      yield* write(
        [row],
        row,
        at.find(({ events }) => events > 0)
      )
    for (const command of at) if (command.events === 0) yield* write([], command, command)
  }
  const template = rows[cut]
  for (const { mark, object } of added) {
    if (template === undefined) continue
    yield* write(
      [{ ...template, eventId: crypto.randomUUID(), payload: JSON.stringify({ _tag: "Marked", mark }) }],
      { aggregateType: objects[object]?.type ?? "", aggregateId: objects[object]?.id ?? "" }
    )
  }
  return lost
})

/**
 * Makes digests synchronous until the scope closes. Otherwise threads compute them and decide on the order of fibers, so that a
 * seed would not determine the history.
 */
export const digestsAtOnce: Effect.Effect<void, never, Scope.Scope> = Effect.asVoid(
  Effect.acquireRelease(
    Effect.sync(() => {
      const { subtle } = globalThis.crypto
      // oxlint-disable-next-line typescript/unbound-method -- put back as it was
      const { digest } = subtle
      subtle.digest = (_algorithm, data) => {
        const bytes = ArrayBuffer.isView(data)
          ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
          : new Uint8Array(data)
        return Promise.resolve(Uint8Array.from(createHash("sha256").update(bytes).digest()).buffer)
      }
      return { subtle, digest }
    }),
    ({ digest, subtle }) =>
      Effect.sync(() => {
        subtle.digest = digest
      })
  )
)

/** A world for one history. */
export const make = Effect.fnUntraced(function* (
  plan: Plan,
  repository: RepositoryLayer,
  /** Breaks the driver. */
  change: (driver: EventStorage["Service"]) => EventStorage["Service"] = (driver) => driver
): Effect.fn.Return<World, never, Scope.Scope> {
  const random = randomOf(`${plan.seed} in memory`)
  const below = (limit: number): number => Math.floor(random.nextDoubleUnsafe() * limit)
  const scope = yield* Effect.scope
  const newStore = Layer.build(Layer.fresh(MemoryStorage.layer))
  const first = yield* newStore
  const [snapshots, projections] = [
    Context.get(first, SnapshotStorage),
    Context.get(first, ProjectionStorage)
  ]
  /** The present stores of the logs that have lost their ends. */
  const moved = new Map<TenantId, Context.Context<Storages>>()
  const storesOf = (tenantId: TenantId | undefined): Context.Context<Storages> =>
    (tenantId === undefined ? undefined : moved.get(tenantId)) ?? first
  let moment = 0
  const permits = 1000
  /** Transactions work on a copy of their tenant's log: while there are any, it is not moved. */
  const transactions = yield* Semaphore.make(permits)

  const shaken = through(Context.get(first, EventStorage), (name, args, call) =>
    Effect.gen(function* () {
      const tenantId = tenantOf(args[0])
      const stores = (): Context.Context<Storages> => storesOf(tenantId)
      const answer = Effect.suspend(() => call(Context.get(stores(), EventStorage)))
      yield* pause(below(4))
      const isSilent =
        random.nextDoubleUnsafe() < plan.faults.silence &&
        !(yield* Context.get(stores(), ProjectionStorage).inTransaction)
      if (!isSilent) return yield* Effect.ensuring(answer, pause(below(4)))
      if (name !== "append") return yield* Effect.andThen(pause(below(4)), unavailable(name))
      switch (below(4)) {
        // The answer is lost, and the driver repeats the append with the same ids.
        case 0:
          yield* Effect.exit(answer)
          yield* pause(below(8))
          return yield* answer
        case 1:
          yield* Effect.exit(answer)
          yield* pause(below(8))
          return yield* new OutcomeUnknown({ tenantId: tenantId ?? "", eventIds: [] })
        case 2:
          yield* pause(below(8))
          return yield* new OutcomeUnknown({ tenantId: tenantId ?? "", eventIds: [] })
        default:
          yield* pause(below(8))
          return yield* unavailable(name)
      }
    })
  )

  const driver = EventStorage.of({
    ...shaken,
    inTransaction: Effect.suspend(() =>
      Effect.map(
        Effect.all(
          [first, ...moved.values()].map((stores) => Context.get(stores, EventStorage).inTransaction)
        ),
        (all) => all.includes(true)
      )
    )
  })

  const surroundings = Surroundings.of({
    transaction: (effect) =>
      Effect.flatMap(CurrentTenant, (tenantId) =>
        transactions.withPermits(1)(
          Effect.suspend(() =>
            Context.get(storesOf(tenantId), ProjectionStorage).transaction(tenantId, effect)
          )
        )
      ),
    pause,
    now: () => ++moment
  })

  // Retries after conflicts take no time, so that only the seed decides on the order.
  const retry = Schedule.recurs(200)
  const start = Effect.gen(function* () {
    const services = yield* repository(plan.settings, retry).pipe(
      Layer.provideMerge(Layer.fresh(EventStore.layer)),
      Layer.provideMerge(
        Layer.succeedContext(
          Context.make(EventStorage, change(driver)).pipe(
            Context.add(SnapshotStorage, snapshots),
            Context.add(ProjectionStorage, projections),
            Context.add(Surroundings, surroundings)
          )
        )
      ),
      Layer.fresh,
      Layer.build
    )
    let running: Fiber.Fiber<void> | undefined
    return {
      run: (fibers, tenantIds, record) =>
        Effect.gen(function* () {
          running = yield* Effect.forkChild(run(fibers, tenantIds, record))
          yield* Fiber.await(running)
        }).pipe(Effect.provideContext(services)),
      kill: Effect.suspend(() => (running === undefined ? Effect.void : Fiber.interrupt(running)))
    } satisfies Process
  })

  return {
    start: () => start,
    lose: (tenantId, loss) =>
      transactions
        .withPermits(permits)(
          Effect.gen(function* () {
            const target = yield* newStore
            return yield* Effect.sync(() => {
              const lost = Effect.runSync(copied(storesOf(tenantId), target, tenantId, loss))
              moved.set(tenantId, target)
              return lost
            })
          })
        )
        .pipe(Scope.provide(scope)),
    read: (tenantId, object) =>
      Effect.map(
        Context.get(storesOf(tenantId), EventStorage).loadStream({
          tenantId,
          aggregateType: objects[object]?.type ?? "",
          aggregateId: objects[object]?.id ?? "",
          fromVersion: 1,
          toVersion: 10_000,
          limit: 10_000
        }),
        ({ rows }) => rows.map(({ payload }) => markOf(payload).mark)
      ).pipe(Effect.orDie),
    pause,
    now: surroundings.now
  }
})
