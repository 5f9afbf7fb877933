/** Helpers of the suite for operations. */
import { type Context, Effect, Schema, Stream } from "effect"
import * as Aggregate from "../../domain/Aggregate.ts"
import * as Tenant from "../../domain/Tenant.ts"
import * as Upcaster from "../../domain/Upcaster.ts"
import type { NewEventRow } from "../../driver/EventStorage.ts"
import { ProjectionStorage } from "../../driver/ProjectionStorage.ts"
import { SnapshotStorage } from "../../driver/SnapshotStorage.ts"
import type { ReadError } from "../../driver/StoreError.ts"
import * as Operations from "../../operations/Operations.ts"
import * as PayloadGrant from "../../operations/PayloadGrant.ts"
import * as Projection from "../../projection/Projection.ts"
import { administered, changeSubject } from "../driver/administrationKit.ts"
import { append, event, stream } from "../driver/eventKit.ts"
import { eventId, failNext, type Projected, putNextAside } from "../driver/projectionKit.ts"
import { AdministrationStorage } from "../../driver/AdministrationStorage.ts"

const OpenedV1 = Schema.TaggedStruct("Opened", { owner: Schema.String })
const Opened = Schema.TaggedStruct("Opened", { name: Schema.String })
const Deposited = Schema.TaggedStruct("Deposited", { amount: Schema.Int })

/** Accounts: their first event has had another form. */
const Account = Aggregate.make(
  "Account",
  {
    id: Schema.String,
    state: Schema.Struct({ name: Schema.String, balance: Schema.Int }),
    initial: { name: "", balance: 0 },
    events: [Opened, Deposited],
    upcasters: [Upcaster.from(OpenedV1).to(Opened, ({ owner }) => Opened.make({ name: owner }))]
  },
  {
    Opened: (state, { name }) => ({ ...state, name }),
    Deposited: (state, { amount }) => ({ ...state, balance: state.balance + amount })
  }
)

/** The failure of a handler. */
export class DepositRefused extends Schema.TaggedError<DepositRefused>()("DepositRefused", {}) {}

/** A projection of deposits with the name of one of the suite. */
export const depositsOf = (
  { projection, version }: Projected,
  handle: (amount: number) => Effect.Effect<void, DepositRefused> = () => Effect.void
): Projection.Projection<DepositRefused, never> =>
  Projection.make(
    projection,
    { aggregates: [Account], version },
    { Deposited: ({ amount }) => handle(amount) }
  )

const access = { actor: "operator", reason: "contract" }

/** Runs a look at one tenant. */
export const at =
  (tenantId: Tenant.TenantId) =>
  <A, E, R>(look: Effect.Effect<A, E, R>) =>
    Tenant.provideAdministration(access)(Effect.provideService(look, Tenant.CurrentTenant, tenantId))

/** Runs a look at all tenants. */
export const atAll: <A, E, R>(
  look: Effect.Effect<A, E, R>
) => Effect.Effect<A, E, Exclude<R, Tenant.AllTenants>> = Tenant.provideAll(access)

type Service = Context.Service.Shape<typeof Operations.Operations>

/** Runs a test with the looks of a program that has the account and some projections. */
export const operating = <A, E, R>(
  projections: ReadonlyArray<Projection.Any>,
  run: (operations: Service) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Operations.Operations> | Operations.Storages> =>
  Effect.provide(Operations.Operations.use(run), Operations.layer({ aggregates: [Account], projections }))

/** The id of the nth event of a filled tenant. All filled tenants have the same. */
export const nthId = eventId

const account = (nth: number, eventType: string, payload: object, more: Partial<NewEventRow> = {}) =>
  event({
    eventId: nthId(nth),
    eventType,
    payload: JSON.stringify({ _tag: eventType, ...payload }),
    actor: nth === 3 ? "bob" : "ada",
    correlationId: nth < 4 ? "request" : "other",
    causationId: nth === 1 ? null : nthId(nth - 1),
    metadata: "{}",
    ...more
  })

/**
 * Five events: an account with an owner of a former version and two deposits, the second one with a tag, then an event of an unknown
 * aggregate, and one of another account that cannot be read.
 */
export const fill = (tenantId: Tenant.TenantId, secret: string) =>
  append(
    tenantId,
    stream("1", [account(1, "Opened", { owner: secret })], "any", "Account"),
    stream("1", [account(2, "Deposited", { amount: 20 })], "any", "Account"),
    stream("1", [account(3, "Deposited", { amount: 200 }, { tags: ["large"] })], "any", "Account"),
    stream(
      "1",
      [account(4, "Noted", { text: secret }, { metadata: JSON.stringify({ secret }) })],
      "any",
      "Note"
    ),
    stream(
      "2",
      [account(5, "Opened", { name: secret }, { schemaVersion: 9, tags: ["large"] })],
      "any",
      "Account"
    )
  )

/** Everything that a look can show of a filled tenant: a dead letter, a failure, subjects, a hold and a snapshot. */
export const troubled = (tenantId: Tenant.TenantId, secret: string, projected: Projected) =>
  Effect.gen(function* () {
    yield* projected.on(tenantId, putNextAside({ error: `Error: ${secret}` }))
    yield* projected.on(tenantId, (claim) =>
      ProjectionStorage.use((storage) =>
        storage.fail({
          claim,
          position: claim.position + 1,
          attempts: 1,
          error: `Error: ${secret}`,
          kind: "handler",
          waited: 0,
          parked: true,
          retryIn: undefined,
          cause: { code: null, message: secret, stack: `Error: ${secret}\n    at handle (deposits.ts:17:3)` }
        })
      )
    )
    yield* changeSubject(tenantId, "person", { change: "hold", reason: secret })
    const administration = yield* AdministrationStorage
    const request = yield* administered(tenantId)
    yield* administration.setHold({ ...request, reason: secret })
    yield* SnapshotStorage.use((storage) =>
      storage.save({
        tenantId,
        aggregateType: "Account",
        aggregateId: "1",
        version: 2,
        position: 2,
        eventId: nthId(2),
        recordedAt: 1_600_000_000_000,
        stateVersion: 1,
        fingerprint: "f".repeat(64),
        checksum: "0".repeat(64),
        state: JSON.stringify({ name: secret })
      })
    )
  })

/** Claims once and records a failure that stops the projection. */
export const park = (projected: Projected, tenantId: Tenant.TenantId) =>
  projected.on(tenantId, failNext(undefined))

/** Every look at one tenant, by name. */
export const looksAt = (
  operations: Service
): Readonly<Record<string, Effect.Effect<unknown, ReadError, Operations.Operator>>> => ({
  log: operations.log({ direction: "forwards" }),
  filtered: operations.log({ tags: ["large"], eventTypes: ["Deposited"], actor: "bob" }),
  tail: Stream.runCollect(Stream.take(operations.tail({ after: 0 }), 5)),
  stream: operations.stream({ aggregateType: "Account", aggregateId: "1" }),
  state: operations.state({ aggregateType: "Account", aggregateId: "1" }),
  trace: operations.trace({ correlationId: "request" }),
  decision: operations.decision({ items: [{ tags: ["large"] }] }),
  projections: operations.projections,
  deadLetters: operations.deadLetters,
  subjects: operations.subjects(),
  chain: operations.chain,
  move: operations.move
})

/** Runs with all payloads. */
export const full = PayloadGrant.provide("full", { personal: true })
