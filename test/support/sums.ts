/** Helpers of the tests of the runner in memory: numbers, and projections that record them. */
import { Effect, Layer, Schedule, Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import { ProjectionStorage } from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"

const Added = Schema.TaggedStruct("Added", { n: Schema.Int })
const Noted = Schema.TaggedStruct("Noted", {})

export const Sum = Aggregate.make(
  "Sum",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Added, Noted] },
  { Added: (state, { n }) => state + n, Noted: (state) => state }
)

export const memory = EventStore.layer.pipe(Layer.provideMerge(MemoryStorage.layer))

/** Appends numbers; null stands for an event without a handler. */
export const append = (tenantId: Tenant.TenantId, ...numbers: ReadonlyArray<number | null>) =>
  EventStore.EventStore.use((store) =>
    store.append({
      aggregate: Sum,
      id: "one",
      expectedVersion: "any",
      events: numbers.map((n) => (n === null ? Noted.make({}) : Added.make({ n })))
    })
  ).pipe(Tenant.provide(tenantId))

export const tenants = (count: number) => Effect.all(Array.from({ length: count }, () => Tenant.generate))

/** The handled numbers by tenant, in order. */
export class Seen {
  readonly #byTenant = new Map<Tenant.TenantId, Array<number>>()
  add(tenantId: Tenant.TenantId, n: number): void {
    const seen = this.#byTenant.get(tenantId)
    if (seen === undefined) this.#byTenant.set(tenantId, [n])
    else seen.push(n)
  }
  of(tenantId: Tenant.TenantId): ReadonlyArray<number> {
    return this.#byTenant.get(tenantId) ?? []
  }
}

/** A projection that records numbers after it has run `fails` on them. */
export const watching = (
  seen: Seen,
  fails: (n: number, tenantId: Tenant.TenantId) => Effect.Effect<unknown, unknown> = () => Effect.void,
  options: Partial<Projection.Options<readonly [typeof Sum]>> & { readonly name?: string } = {}
) =>
  Projection.make(
    options.name ?? "watching",
    { aggregates: [Sum], retry: Schedule.recurs(0), ...options },
    {
      Added: ({ n }, { tenantId }) =>
        Effect.andThen(
          fails(n, tenantId),
          Effect.sync(() => seen.add(tenantId, n))
        )
    }
  )

/** Runs an effect with a runner that works on request. */
export const drained =
  (...projections: ReadonlyArray<Projection.Projection<unknown, never>>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R | ProjectionRunner.ProjectionRunner>) =>
    Effect.provide(
      effect,
      ProjectionRunner.layer({ projections, concurrency: 0, sweepInterval: "1000 days" }).pipe(
        Layer.provideMerge(memory)
      )
    )

export const drain = ProjectionRunner.ProjectionRunner.use(({ drain: work }) => work)

export const key = (tenantId: Tenant.TenantId, projection = "watching", version = 1) => ({
  projection,
  version,
  tenantId
})

export const live = (tenantId: Tenant.TenantId, projection?: string) =>
  ProjectionStorage.use((storage) => storage.progress(key(tenantId, projection))).pipe(
    Effect.map(([progress]) => progress)
  )

/** The positions of a projection's dead letters. */
export const deadLetters = (tenantId: Tenant.TenantId) =>
  ProjectionStorage.use((storage) => storage.deadLetters({ ...key(tenantId), after: 0, limit: 100 })).pipe(
    Effect.map((letters) => letters.map(({ position }) => position))
  )
