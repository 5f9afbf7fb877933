/**
 * Acting on tenants: one contract for everything that an operator does to a store. Each action is recorded with its outcome, and has a
 * dry run that counts. `Operations` is the other half, which looks.
 */
import { Context, Effect, Layer, Option, type Stream } from "effect"
import type { AllTenants, CurrentTenant } from "../domain/Tenant.ts"
import { AdministrationStorage } from "../driver/AdministrationStorage.ts"
import { EventStorage } from "../driver/EventStorage.ts"
import { ProjectionStorage } from "../driver/ProjectionStorage.ts"
import { Forgetting } from "../forgetting/Forgetting.ts"
import { layerPer } from "../internal/layerPer.ts"
import { TenantErasure } from "../lifecycle/TenantErasure.ts"
import { TenantMove } from "../lifecycle/TenantMove.ts"
import * as TenantQuota from "../lifecycle/TenantQuota.ts"
import type * as Projection from "../projection/Projection.ts"
import * as ProjectionManager from "../projection/ProjectionManager.ts"
import * as TenantRegistry from "../store/TenantRegistry.ts"
import type * as Acts from "./Acts.ts"
import * as archives from "./archiveActions.ts"
import * as chains from "./chainActions.ts"
import * as deadLetters from "./deadLetterActions.ts"
import * as moves from "./moveActions.ts"
import * as projectionActions from "./projectionActions.ts"
import { type ActionError, makeRecorder, type OnTenant } from "./recorded.ts"
import * as subjects from "./subjectActions.ts"
import * as tenants from "./tenantActions.ts"

export type { ExportOptions } from "./archiveActions.ts"
export type { ActionError, OnTenant } from "./recorded.ts"

/** The parts of the program that an operator may act on. */
export interface Options<Ps extends ReadonlyArray<Projection.Any>> {
  /** Projections that are rebuilt, and whose dead letters are retried: their handlers run here. Default: none. */
  readonly projections?: Ps | undefined
}

/** The error of a stream that an action reads. */
interface InputError {
  readonly _tag: string
  readonly message: string
}

type Done<R> = Effect.Effect<Acts.Done, ActionError, R>
type Steps<R> = Stream.Stream<Acts.Progress, ActionError, R>
type Act<Request, R = OnTenant> = (request: Request) => Done<R>
type Plain<R = OnTenant> = (request?: Acts.Plain) => Done<R>
type Long<Request, R = OnTenant> = (request: Request) => Steps<R>

/**
 * The actions of an operator.
 *
 * **Details**
 *
 * Actions on one tenant require `CurrentTenant` and `TenantAdministration`, those on all of them `AllTenants`. Each is recorded durably
 * before it begins, with its parameters, the actor and the reason, and again when it has ended, with its outcome
 * (`Operations.accesses`). A record without an outcome is of an action that runs, or whose process was killed. The right to act
 * is no right to see payloads, and no answer has one.
 *
 * With `dryRun: true` an action counts its effects, changes nothing but the record, and fails as it would fail for the present state.
 *
 * Long actions are streams of progress, whose last element has the result. Running the stream runs the action. One that was
 * interrupted goes on when it is run again; a rebuild goes on by itself.
 *
 * An action that needs a part which the program has not provided fails with `ActionUnavailable`: `TenantErasure`, `TenantMove`,
 * `Forgetting`, or a projection of {@link Options}. The other errors are `ActionRefused` (nothing was changed), `ActionFailed` and
 * `StorageUnavailable`.
 */
export class Actions extends Context.Service<
  Actions,
  {
    /** Registers the tenant, unless it is registered already. */
    readonly provisionTenant: Plain
    /** Suspends the tenant: its data can be read but not written. */
    readonly suspendTenant: Plain<OnTenant | AllTenants>
    /** Resumes a suspended tenant. */
    readonly resumeTenant: Plain<OnTenant | AllTenants>
    /** Sets a legal hold with the reason of the operator: until its release the tenant cannot be erased. Needs `TenantErasure`. */
    readonly holdTenant: Plain
    /** Releases the legal hold of the tenant. Needs `TenantErasure`. */
    readonly releaseTenant: Plain
    /** Sets the quota of the tenant. */
    readonly setQuota: Act<Acts.SetQuota>
    /** Removes the quota of the tenant. */
    readonly clearQuota: Plain

    /** Stops projections of the tenant until they are resumed: those that have worked for it, and those of the program. */
    readonly pauseProjections: (request?: Acts.ProjectionFilter) => Done<OnTenant>
    /**
     * Stops projections for all tenants that are registered now, one after another, until they are resumed. Run it again to go on
     * after an interruption, or for tenants that came later.
     */
    readonly pauseProjectionsOfAll: (request?: Acts.ProjectionFilter) => Steps<AllTenants>
    /** Lets parked projections of the tenant, and parked rebuilds, try again. */
    readonly resumeProjections: (request?: Acts.ProjectionFilter) => Done<OnTenant>
    /** Lets parked projections of all tenants, and parked rebuilds, try again. */
    readonly resumeProjectionsOfAll: (request?: Acts.ProjectionFilter) => Done<AllTenants>
    /** Rebuilds the read model of the tenant beside the live one, and swaps both. It goes on if the stream is interrupted. */
    readonly rebuild: Long<Acts.Rebuild>
    /** Rebuilds the read models of all tenants. */
    readonly rebuildAll: Long<Acts.Rebuild, AllTenants>
    /** Cancels the rebuild of the tenant's read model. The live one stays as it is. */
    readonly cancelRebuild: Act<Acts.Rebuild>
    /** Cancels the rebuilds of all tenants. */
    readonly cancelRebuildAll: Act<Acts.Rebuild, AllTenants>
    /** Retires a version of a projection for all tenants. It cannot be undone. */
    readonly retire: Act<Acts.ProjectionVersion, AllTenants>
    /** Handles dead letters again, in the order of the log. The first that fails again ends it (`ActionFailed`) and remains. */
    readonly retryDeadLetters: (request?: Acts.DeadLetterFilter) => Steps<OnTenant>
    /** Discards dead letters, with the reason of the operator. */
    readonly discardDeadLetters: (request?: Acts.DeadLetterFilter) => Steps<OnTenant>

    /** Verifies the hash chain of the tenant. `details.head` is an anchor, to be kept elsewhere. */
    readonly verify: (request?: Acts.Verify) => Steps<OnTenant>
    /** Verifies the hash chains of all tenants that have one, and records each. Fails at the end if any is broken. */
    readonly verifyAll: (request?: Acts.Plain) => Steps<AllTenants>

    /** Exports the tenant as the bytes of a tar file. Sealed fields stay sealed, and their keys are not in it. */
    readonly export: (
      request?: Acts.Export,
      options?: archives.ExportOptions
    ) => Stream.Stream<Uint8Array, ActionError, OnTenant>
    /** The dry run of `export`. */
    readonly measureExport: (request?: Acts.Export) => Done<OnTenant>
    /** Imports the bytes of a tar file into the tenant, which must not be registered. Run it again to go on. */
    readonly import: <E extends InputError = never, R = never>(
      bytes: Stream.Stream<Uint8Array, E, R>,
      request?: Acts.Import
    ) => Steps<OnTenant | R>
    /** Removes an unfinished import. */
    readonly abandonImport: Plain
    /** Moves the tenant to another database while it is in use. Needs `TenantMove`. */
    readonly move: Long<Acts.Move>
    /** Carries on with an interrupted move. Needs `TenantMove`. */
    readonly resumeMove: (request?: Acts.Plain) => Steps<OnTenant>
    /** Calls a move off that is not decided. Needs `TenantMove`. */
    readonly abortMove: Plain

    /** Erases the tenant, at once or after a delay. Needs `TenantErasure`. */
    readonly erase: (request?: Acts.Erase) => Steps<OnTenant>
    /** Restores a tenant whose rows are not removed yet. Needs `TenantErasure`. */
    readonly undoErasure: Plain
    /** Removes the rows of an erased tenant whose delay is over, or the rest of them. Needs `TenantErasure`. */
    readonly finishErasure: (request?: Acts.Plain) => Steps<OnTenant>
    /** Forgets a person, with the reason of the operator. Needs `Forgetting`. */
    readonly forget: Act<Acts.Subject>
    /** Allows new data of a forgotten person. Needs `Forgetting`. */
    readonly allowAgain: Act<Acts.Subject>
    /** Sets a legal hold with the reason of the operator: until its release the person cannot be forgotten. Needs `Forgetting`. */
    readonly holdSubject: Act<Acts.Subject>
    /** Releases the legal hold of a person. Needs `Forgetting`. */
    readonly releaseSubject: Act<Acts.Subject>
  }
>()("effect-eventsourcing/Actions") {}

const make = <Ps extends ReadonlyArray<Projection.Any>>({ projections }: Options<Ps>) =>
  Effect.gen(function* () {
    const events = yield* EventStorage
    const administration = yield* AdministrationStorage
    const progress = yield* ProjectionStorage
    const known: ReadonlyArray<Projection.Any> = projections ?? []
    const manager = yield* ProjectionManager.ProjectionManager
    const optional = <I, S>(key: Context.Key<I, S>) =>
      Effect.map(Effect.serviceOption(key), Option.getOrUndefined)
    const recorder = makeRecorder(events)
    return Actions.of({
      ...tenants.make(
        {
          administration,
          registry: yield* TenantRegistry.TenantRegistry,
          quotas: yield* TenantQuota.TenantQuota,
          erasure: yield* optional(TenantErasure)
        },
        recorder
      ),
      ...projectionActions.make(events, administration, manager, known, recorder),
      ...deadLetters.make(
        {
          events,
          administration,
          projections: progress,
          manager,
          known,
          services: yield* Effect.context<Exclude<Projection.Requirements<Ps[number]>, CurrentTenant>>()
        },
        recorder
      ),
      ...chains.make(events, recorder),
      ...archives.make(administration, recorder),
      ...moves.make(yield* optional(TenantMove), recorder),
      ...subjects.make(administration, yield* optional(Forgetting), recorder)
    })
  })

/** The storages that the actions use. */
export type Storages = AdministrationStorage | EventStorage | ProjectionStorage

/**
 * The actions of an operator on a driver. `TenantErasure`, `TenantMove` and `Forgetting` are used if they are provided to the layer. It
 * requires what the handlers of the projections require. Keep the layer in a constant.
 */
export const layer = <const Ps extends ReadonlyArray<Projection.Any> = readonly []>(
  options: Options<Ps> = {}
): Layer.Layer<Actions, never, Storages | Exclude<Projection.Requirements<Ps[number]>, CurrentTenant>> =>
  layerPer([EventStorage, ProjectionStorage, AdministrationStorage], () =>
    Layer.effect(Actions, make(options)).pipe(
      Layer.provide(Layer.mergeAll(TenantRegistry.layer, TenantQuota.layer, ProjectionManager.layer))
    )
  )
