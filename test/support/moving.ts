/** Placements that several programs share, so that a tenant moves between them while programs stop at any point. */
import { assert } from "@effect/vitest"
import { Context, Effect, Latch, Layer, type Scope } from "effect"
import {
  AdministrationStorage,
  type Administered,
  type TenantRecord
} from "../../src/driver/AdministrationStorage.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import { SnapshotStorage } from "../../src/driver/SnapshotStorage.ts"
import { ConnectionFailed, StorageFull, StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantMove from "../../src/lifecycle/TenantMove.ts"
import type { Placements } from "../../src/routed/Placements.ts"
import * as RoutedStorage from "../../src/routed/RoutedStorage.ts"
import * as TenantDirectory from "../../src/routed/TenantDirectory.ts"

export type Storages = AdministrationStorage | EventStorage | ProjectionStorage | SnapshotStorage

export const administer = Tenant.provideAdministration({ actor: "ada", reason: "own server" })

type StopKind = "killBefore" | "killAfter" | "pause" | "pauseAndKillAfter"

/** A process that stops at one of its calls of the administration; after a pause it may make only this call. */
export class Stop {
  /** The number of the call, from 1, or its name. */
  readonly #at: number | string
  readonly #kind: StopKind
  #calls = 0
  /** The calls of the running process, by name. */
  readonly names: Array<string> = []
  #dead = false
  #hit = false
  readonly paused = Latch.makeUnsafe(false)
  readonly #continues = Latch.makeUnsafe(true)

  constructor(kind: StopKind, at: number | string) {
    this.#kind = kind
    this.#at = at
  }

  /** True if the process was stopped. */
  get hit(): boolean {
    return this.#hit
  }

  readonly wakeUp = Effect.suspend(() => this.#continues.open)

  /** A call of the process. After its death nothing of it takes effect. */
  call<A, E>(name: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E | StorageUnavailable> {
    return Effect.suspend((): Effect.Effect<A, E | StorageUnavailable> => {
      if (this.#dead) return gone
      const isStop = ++this.#calls === this.#at || (name === this.#at && !this.#hit)
      this.names.push(name)
      if (isStop) this.#hit = true
      if (isStop && (this.#kind === "pause" || this.#kind === "pauseAndKillAfter")) {
        this.#continues.closeUnsafe()
        this.paused.openUnsafe()
      }
      if (isStop && this.#kind === "killBefore") {
        this.#dead = true
        return gone
      }
      return Effect.andThen(this.#continues.await, effect).pipe(
        Effect.flatMap((value): Effect.Effect<A, StorageUnavailable> => {
          if (isStop && (this.#kind === "killAfter" || this.#kind === "pauseAndKillAfter")) this.#dead = true
          return this.#dead ? gone : Effect.succeed(value)
        })
      )
    })
  }
}

/** A process whose first calls of some names wait until they are let through. */
export class Gates {
  readonly #gates: ReadonlyMap<string, { readonly arrived: Latch.Latch; readonly open: Latch.Latch }>
  readonly #passed = new Set<string>()
  /** The names of its gated calls that failed. */
  readonly refused: Array<string> = []

  constructor(names: ReadonlyArray<string>) {
    this.#gates = new Map(
      names.map((name) => [name, { arrived: Latch.makeUnsafe(false), open: Latch.makeUnsafe(false) }])
    )
  }

  #gate(name: string) {
    return this.#gates.get(name) ?? assert.fail(name)
  }

  /** Waits until the process is at a call. */
  readonly arrival = (name: string): Effect.Effect<void> => this.#gate(name).arrived.await

  readonly pass = (name: string): Effect.Effect<boolean> => this.#gate(name).open.open

  call<A, E>(name: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E | StorageUnavailable> {
    return Effect.suspend(() => {
      if (!this.#gates.has(name) || this.#passed.has(name)) return effect
      this.#passed.add(name)
      const { arrived, open } = this.#gate(name)
      return Effect.andThen(Effect.andThen(arrived.open, open.await), effect).pipe(
        Effect.onError(() => Effect.sync(() => void this.refused.push(name)))
      )
    })
  }
}

const gone = Effect.fail(
  new StorageUnavailable({ reason: new ConnectionFailed({ operation: "call", code: null, retryable: true }) })
)

/** Storages by placement, and the directory that all programs share. */
export interface World {
  readonly names: ReadonlyArray<string>
  readonly storages: ReadonlyMap<string, Context.Context<Storages>>
  readonly entries: Map<Tenant.TenantId, string>
}

export const makeWorld = Effect.fnUntraced(function* (
  storages: Readonly<Record<string, Layer.Layer<Storages>>>
): Effect.fn.Return<World, never, Scope.Scope> {
  const built = new Map<string, Context.Context<Storages>>()
  for (const [name, layer] of Object.entries(storages))
    built.set(
      name,
      yield* Layer.buildWithMemoMap(Layer.fresh(layer), Layer.makeMemoMapUnsafe(), yield* Effect.scope)
    )
  return { names: [...built.keys()], storages: built, entries: new Map() }
})

/** The administration of a process that may stop. */
const stoppable = (
  storage: AdministrationStorage["Service"],
  stop: Pick<Stop, "call">,
  after: Effect.Effect<void>
): AdministrationStorage["Service"] => {
  const wrapped: Record<string, unknown> = {}
  for (const [name, member] of Object.entries(storage))
    wrapped[name] =
      typeof member === "function"
        ? (request: { readonly change?: string }) =>
            stop.call(
              request.change ?? name,
              Effect.tap(
                (member as (request: object) => Effect.Effect<unknown, StorageUnavailable>)(request),
                () => after
              )
            )
        : member
  return wrapped as AdministrationStorage["Service"]
}

/** Storages whose disk is full at one placement. */
export const full = (world: World, placement: string): World => {
  const services = world.storages.get(placement)
  if (services === undefined) return assert.fail(placement)
  const storage = Context.get(services, AdministrationStorage)
  const noSpace = new StorageUnavailable({
    reason: new StorageFull({ operation: "write events", code: "53100" })
  })
  const storages = new Map(world.storages).set(
    placement,
    Context.add(services, AdministrationStorage, { ...storage, writeEvents: () => Effect.fail(noSpace) })
  )
  return { ...world, storages }
}

/** Storages of which one does not write subjects. */
export const forgetful = (world: World, placement: string): World => {
  const services = world.storages.get(placement) ?? assert.fail(placement)
  const storage = Context.get(services, AdministrationStorage)
  const storages = new Map(world.storages).set(
    placement,
    Context.add(services, AdministrationStorage, { ...storage, writeSubjects: () => Effect.void })
  )
  return { ...world, storages }
}

/** The tenant in every placement, by placement. */
export const recordsOf = Effect.fnUntraced(function* (world: World, tenantId: Tenant.TenantId) {
  const records = new Map<string, TenantRecord>()
  for (const [name, services] of world.storages) {
    const storage = Context.get(services, AdministrationStorage)
    const accessId = yield* storage.recordAccess({ actor: "test", reason: "test", operation: "look" })
    const record = yield* storage.tenant({ accessId, tenantId } satisfies Administered)
    if (record !== undefined) records.set(name, record)
  }
  return records
}, Effect.orDie)

/** The placements in which the tenant can be read or written. */
export const homes = (world: World, tenantId: Tenant.TenantId): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(recordsOf(world, tenantId), (records) =>
    [...records].flatMap(([name, { state }]) =>
      state.status === "active" || state.status === "suspended" || state.status === "moving" ? [name] : []
    )
  )

/** Settings of a program. */
export interface Program {
  readonly stop?: Pick<Stop, "call"> | undefined
  /** The tenant that must never have two homes. */
  readonly watched?: Tenant.TenantId | undefined
  readonly settings?: TenantMove.Options | undefined
  readonly directory?: Partial<TenantDirectory.Options> | undefined
}

/** The services of a program in a process of its own, over the storages that all share. */
export const program = (
  world: World,
  { directory, settings, stop, watched }: Program = {}
): Layer.Layer<Storages | Placements | TenantMove.TenantMove | TenantDirectory.TenantDirectory> =>
  TenantMove.layerWith({ lease: "1 millis", grace: 0, pause: 0, ...settings }).pipe(
    Layer.provideMerge(
      RoutedStorage.layerWith({
        idleTimeToLive: Infinity,
        storage: (placement) => {
          const services = world.storages.get(placement) ?? assert.fail(placement)
          if (stop === undefined) return Layer.succeedContext(services)
          const watch =
            watched === undefined
              ? Effect.void
              : Effect.map(homes(world, watched), (found) =>
                  assert.isAtMost(found.length, 1, "the tenant has two homes")
                )
          const administration = Context.get(services, AdministrationStorage)
          return Layer.succeedContext(
            Context.add(services, AdministrationStorage, stoppable(administration, stop, watch))
          )
        }
      })
    ),
    Layer.provideMerge(
      TenantDirectory.layerWith({
        placements: world.names,
        placementOf: (tenantId) => world.entries.get(tenantId),
        replace: ({ from, tenantId, to }) => {
          const named = world.entries.get(tenantId)
          if (named === from) world.entries.set(tenantId, to)
          return named === from || named === to
        },
        ...directory
      })
    )
  )
