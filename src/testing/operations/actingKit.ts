/** Helpers of the suite for actions. */
import { type Context, Effect, Layer, Option, Stream } from "effect"
import type * as Tenant from "../../domain/Tenant.ts"
import * as TenantErasure from "../../lifecycle/TenantErasure.ts"
import * as Actions from "../../operations/Actions.ts"
import type * as Acts from "../../operations/Acts.ts"
import * as Operations from "../../operations/Operations.ts"
import type * as Projection from "../../projection/Projection.ts"
import { atAll } from "./kit.ts"

type Service = Context.Service.Shape<typeof Actions.Actions>

/** Runs a test with the actions of a program that has erasure and some projections. */
export const acting = <A, E, R>(
  projections: ReadonlyArray<Projection.Projection<unknown, never>>,
  run: (actions: Service) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Actions.Actions | Operations.Operations> | Operations.Storages> =>
  Effect.provide(
    Actions.Actions.use(run),
    Layer.mergeAll(
      Actions.layer({ projections }).pipe(Layer.provide(TenantErasure.layer)),
      Operations.layer({ projections })
    )
  )

/** The last progress of a long action, with its result. */
export const last = <E, R>(steps: Stream.Stream<Acts.Progress, E, R>): Effect.Effect<Acts.Done, E, R> =>
  Effect.map(Stream.runLast(steps), (step) =>
    Option.match(step, {
      onNone: () => {
        throw new Error("a long action ends with its result")
      },
      onSome: ({ result }) => {
        if (result === null) throw new Error("the last element has the result")
        return result
      }
    })
  )

/** The recorded actions of a tenant, the newest first, without the time of their end. */
export const recordedOf = (tenantId: Tenant.TenantId) =>
  Effect.map(
    atAll(
      Operations.Operations.use((operations) => operations.accesses({ tenantId, operation: "Actions." }))
    ),
    ({ accesses }) => accesses
  )
