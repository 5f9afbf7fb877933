/** The program that the commands run in: its store, its aggregates and its projections. */
import { Effect, Layer, Option, Terminal } from "effect"
import type { SqlClient } from "effect/sql"
import type * as Aggregate from "../domain/Aggregate.ts"
import type { CurrentTenant } from "../domain/Tenant.ts"
import type { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import type { EventStorage } from "../driver/EventStorage.ts"
import type { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import type { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import { KeyVault } from "../forgetting/KeyVault.ts"
import * as TenantErasure from "../lifecycle/TenantErasure.ts"
import * as Actions from "../operations/Actions.ts"
import * as Operations from "../operations/Operations.ts"
import * as PgStorage from "../pg/PgStorage.ts"
import type * as Projection from "../projection/Projection.ts"
import * as ProjectionManager from "../projection/ProjectionManager.ts"
import * as EventStore from "../store/EventStore.ts"
import * as TenantRegistry from "../store/TenantRegistry.ts"
import { client, secrets } from "./connection.ts"
import { type CliFailure, failureOf } from "./failures.ts"
import type { Settings } from "./settings.ts"

/** The storages of a driver. */
export type Storages = EventStorage | ProjectionStorage | SnapshotStorage | AdministrationStorage

/** The services that commands use. */
export type Services =
  | Storages
  | Actions.Actions
  | EventStore.EventStore
  | Operations.Operations
  | ProjectionManager.ProjectionManager
  | TenantRegistry.TenantRegistry

/** The services that handlers of projections require of the program, beside those that the command line provides. */
export type Handlers<Ps extends ReadonlyArray<Projection.Any>> = Exclude<
  Projection.Requirements<Ps[number]>,
  CurrentTenant | SqlClient.SqlClient | EventStore.EventStore | Storages
>

interface Common<E, Ps> {
  /** Aggregates whose events are read and whose states are folded. Others are shown as stored. Default: none. */
  readonly aggregates?: ReadonlyArray<Aggregate.Any> | undefined
  /** Projections whose work is counted, that can be rebuilt, and whose dead letters can be retried: their handlers run here. Default: none. */
  readonly projections?: Ps | undefined
  /** The client of the database. Default: the one of `DATABASE_URL` and of the flags of the connection. */
  readonly database?: Layer.Layer<SqlClient.SqlClient, E> | undefined
  /** The beginning of the command lines in texts. Default: `eventsourcing`. */
  readonly name?: string | undefined
}

interface Store<E, Ps extends ReadonlyArray<Projection.Any>> {
  /**
   * The store of the program, with the services that its handlers require. It may also provide `TenantMove`, `Forgetting`, `KeyVault`
   * and `TenantErasure`, which `move`, `forget` and `erase` use. Default: `PgStorage`, under any login.
   */
  readonly layer: Layer.Layer<Storages | Handlers<Ps>, E, SqlClient.SqlClient>
}

/** The parts of a program that the command line works on. */
export type Options<E = never, Ps extends ReadonlyArray<Projection.Any> = ReadonlyArray<never>> = Common<
  E,
  Ps
> &
  ([Handlers<Ps>] extends [never] ? Partial<Store<E, Ps>> : Store<E, Ps>)

/** A program, as commands see it. */
export interface Program {
  readonly name: string
  readonly aggregates: ReadonlyArray<Aggregate.Any>
  readonly projections: ReadonlyArray<Projection.Any>
  /** Runs on the database alone, which the store may refuse. */
  readonly onDatabase: <A, E, R>(
    effect: Effect.Effect<A, E, R | SqlClient.SqlClient>
  ) => Effect.Effect<A, CliFailure, Exclude<R, SqlClient.SqlClient> | Settings>
  /** Runs on the store. */
  readonly onStore: <A, E, R>(
    effect: Effect.Effect<A, E, R | Services>
  ) => Effect.Effect<A, CliFailure, Exclude<R, Services> | Settings>
}

/** Makes the failures of a command line from errors. */
export const asFailure = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, CliFailure, R | Settings> =>
  effect.pipe(
    Effect.catch((error) =>
      Terminal.isQuitError(error)
        ? Effect.interrupt
        : Effect.flatMap(secrets, (known) => Effect.fail(failureOf(error, known)))
    ),
    // The report of a defect by the platform would print everything in it.
    Effect.catchDefect((defect) => Effect.flatMap(secrets, (known) => Effect.fail(failureOf(defect, known))))
  )

/** The erasure of the program, or one that destroys the keys of its vault, if it has one. */
const erasure: Layer.Layer<TenantErasure.TenantErasure, never, AdministrationStorage> = Layer.unwrap(
  Effect.gen(function* () {
    const given = yield* Effect.serviceOption(TenantErasure.TenantErasure)
    if (Option.isSome(given)) return Layer.succeed(TenantErasure.TenantErasure, given.value)
    const vault = yield* Effect.serviceOption(KeyVault)
    return Option.isSome(vault)
      ? Layer.provide(TenantErasure.layerWithVault(), Layer.succeed(KeyVault, vault.value))
      : TenantErasure.layer
  })
)

/** The program of some options. */
export const makeProgram = <E, const Ps extends ReadonlyArray<Projection.Any>>({
  aggregates = [],
  database,
  layer,
  name = "eventsourcing",
  projections
}: Options<E, Ps>): Program => {
  const known: ReadonlyArray<Projection.Any> = projections ?? []
  const databaseLayer: Layer.Layer<SqlClient.SqlClient, E | CliFailure, Settings> = database ?? client
  const storages: Layer.Layer<Storages, E | PgStorage.PgStorageError, SqlClient.SqlClient> =
    // An operator's login may hold every right.
    layer ?? PgStorage.layerWith({ onPrivilegedLogin: "accept" })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the services of the handlers come from the layer, or are these; the compiler cannot subtract them from a type parameter
  const actions = Actions.layer({ projections }) as Layer.Layer<
    Actions.Actions,
    never,
    Storages | EventStore.EventStore | SqlClient.SqlClient
  >
  const services: Layer.Layer<Services, E | CliFailure | PgStorage.PgStorageError, Settings> = Layer.mergeAll(
    Operations.layer({ aggregates, projections: known }),
    ProjectionManager.layer,
    TenantRegistry.layer,
    actions
  ).pipe(
    Layer.provide(erasure),
    Layer.provideMerge(EventStore.layer),
    Layer.provideMerge(storages),
    Layer.provide(databaseLayer)
  )
  return {
    name,
    aggregates,
    projections: known,
    onDatabase: (effect) => asFailure(Effect.provide(effect, databaseLayer)),
    onStore: (effect) => asFailure(Effect.provide(effect, services))
  }
}
