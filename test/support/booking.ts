/** Helpers of the tests of `ProjectionManager`: projections that book orders, in memory and into a table. */
import { Effect, Layer, Logger, Schedule, Schema, Stream } from "effect"
import { SqlClient } from "effect/sql"
import type * as EventStorage from "../../src/driver/EventStorage.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Projection from "../../src/projection/Projection.ts"
import { layer, ProjectionManager, type Ref } from "../../src/projection/ProjectionManager.ts"
import type * as ProjectionStorage from "../../src/driver/ProjectionStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantRegistry from "../../src/store/TenantRegistry.ts"
import { backendsWith } from "./readModels.ts"
import { drain, onDriver, Order, unique } from "./shop.ts"

export const access = { actor: "test", reason: "to see that it works" }

export class CannotBook extends Schema.TaggedError<CannotBook>()("CannotBook", { total: Schema.Int }) {
  override get message(): string {
    return `cannot book ${this.total}`
  }
}

/** All services, on a driver. */
export const on = <A, E, R>(
  driver: Layer.Layer<A | EventStorage.EventStorage | ProjectionStorage.ProjectionStorage, E, R>
) =>
  layer.pipe(
    Layer.provideMerge(TenantRegistry.layer),
    Layer.provideMerge(onDriver(driver)),
    // Handlers fail on purpose.
    Layer.provideMerge(Logger.layer([]))
  )

export interface Backend {
  readonly name: string
  readonly layer: Layer.Layer<EventStorage.EventStorage | ProjectionStorage.ProjectionStorage>
}

export const memory: Backend = {
  name: "memory",
  layer: MemoryStorage.layer
}

export const databases = backendsWith([
  `create table booked (tenant_id uuid not null, projection text not null, position int not null, total int not null,
     primary key (tenant_id, projection, position))`,
  "select eventsourcing.register_read_model('booked')",
  ...Array.from({ length: 7 }, (_, n) => [
    `create table booked_${n} (tenant_id uuid primary key)`,
    `select eventsourcing.register_read_model('booked_${n}')`
  ]).flat(),
  "create table grand_total (projection text primary key, total int not null)",
  "grant select, insert, update on grand_total to eventsourcing_all_tenants"
])

/** The events that handlers received, and those at which they fail. */
export const book = (options: Partial<Projection.Options<[typeof Order]>> = {}) => {
  const seen: Array<string> = []
  const broken = new Set<number>()
  const projection = Projection.make(
    unique("book"),
    { aggregates: [Order], retry: Schedule.recurs(0), ...options },
    {
      Placed: ({ total }, { tenantId }) =>
        Effect.suspend(() => {
          if (broken.has(total)) return Effect.fail(new CannotBook({ total }))
          seen.push(`${tenantId} ${total}`)
          return Effect.void
        })
    }
  )
  return { projection, seen, broken }
}

/** Works until nothing is left, repeatedly while an effect runs. */
export const draining = Effect.forkChild(
  Effect.forever(Effect.andThen(Effect.ignore(Effect.orDie(drain)), Effect.sleep("5 millis")))
)

export const twoTenants = Effect.all([Tenant.generate, Tenant.generate])

export const status = (projection: Ref) =>
  Effect.flatMap(ProjectionManager, (projections) => projections.status(projection))

export const letters = (projection: Ref) =>
  Stream.unwrap(Effect.map(ProjectionManager, ({ deadLetters }) => deadLetters(projection))).pipe(
    Stream.map(({ position }) => position),
    Stream.runCollect
  )

export const backends: ReadonlyArray<Backend> = [memory, ...databases]

/** The tenant's rows in the read model. */
export const rows = (projection: Ref) =>
  PgTenant.transaction(
    SqlClient.SqlClient.use(
      (sql) => sql<{ position: number; total: number }>`
        select position, total from booked where projection = ${projection.name} order by position`
    )
  )

/** Fills the table; fails after its write. */
export const table = (options: Partial<Projection.Options<[typeof Order]>> = {}) => {
  const broken = new Set<number>()
  const name = unique("table")
  const projection = Projection.make(
    name,
    { aggregates: [Order], retry: Schedule.recurs(0), tables: ["booked"], ...options },
    {
      Placed: ({ total }, { tenantId, position }) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`insert into booked (tenant_id, projection, position, total)
            values (${tenantId}::uuid, ${name}, ${position}, ${total})`
          if (broken.has(total)) return yield* new CannotBook({ total })
        })
    }
  )
  return { projection, broken }
}
