/** Events with a personal field, in processes with caches of their own. */
import { Context, Effect, Layer, Redacted } from "effect"
import {
  AdministrationStorage,
  BlindIndex,
  EventStorage,
  Forgetting,
  KeyVault,
  SnapshotStorage,
  Tenant
} from "effect-eventsourcing"
import { event } from "../../src/testing/driver/eventKit.ts"

export type Storages =
  | AdministrationStorage.AdministrationStorage
  | EventStorage.EventStorage
  | SnapshotStorage.SnapshotStorage

export type Vault = KeyVault.KeyVault["Service"]

/** Runs a method of forgetting for a tenant. */
export const by =
  (tenantId: Tenant.TenantId) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(Tenant.provideAdministration({ actor: "officer", reason: "test" }), Tenant.provide(tenantId))

/** A vault of its own. */
export const newVault = Effect.map(Layer.build(Layer.fresh(KeyVault.layerMemory)), (context) =>
  Context.get(context, KeyVault.KeyVault)
)

/** A process on storages and a vault. */
export const processOn = Effect.fnUntraced(function* (storages: Context.Context<Storages>, vault: Vault) {
  const context = yield* Layer.build(
    Layer.fresh(Layer.merge(Forgetting.layerWith({}), BlindIndex.layer)).pipe(
      Layer.provide(Layer.succeedContext(storages)),
      Layer.provide(Layer.succeed(KeyVault.KeyVault, vault))
    )
  )
  return {
    context,
    events: Context.get(context, EventStorage.EventStorage),
    forgetting: Context.get(context, Forgetting.Forgetting),
    index: Context.get(context, BlindIndex.BlindIndex)
  }
})

export type Process = Effect.Success<ReturnType<typeof processOn>>

/** The text of a person's data. */
export const nameOf = (subject: string) => `{"name":"${subject} Lovelace"}`
export const gone = '{"name":{"$forgotten":true}}'

/** Appends an event with the name of a person. */
export const write = (
  { events }: Pick<Process, "events">,
  tenantId: Tenant.TenantId,
  subject: string,
  tags: ReadonlyArray<string> = []
) =>
  events.append({
    tenantId,
    streams: [
      {
        aggregateType: "Customer",
        aggregateId: subject,
        expectedVersion: "any",
        events: [event({ payload: nameOf(subject), personal: [{ path: ["name"], subject }], tags })]
      }
    ]
  })

/** The payloads of a person, as a process reads them. */
export const read = ({ events }: Pick<Process, "events">, tenantId: Tenant.TenantId, subject: string) =>
  Effect.map(
    events.loadStream({
      tenantId,
      aggregateType: "Customer",
      aggregateId: subject,
      fromVersion: 1,
      toVersion: 10_000,
      limit: 10_000
    }),
    ({ rows }) => rows.map(({ payload }) => payload)
  )

/** A root key for archives. */
export const root = (letter: string) => Redacted.make(letter.repeat(64))

/** Runs an effect on storages. */
export const on =
  (storages: Context.Context<Storages>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provideContext(effect, storages)
