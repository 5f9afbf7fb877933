/** Finds work that does not go on: projections, dead letters, moves, imports, erasures, chains. */
import { DateTime, Effect, Schema, Stream } from "effect"
import { AllTenants, type TenantAdministration, type TenantId } from "../../domain/Tenant.ts"
import * as Tenant from "../../domain/Tenant.ts"
import { AdministrationStorage, type TenantState } from "../../driver/AdministrationStorage.ts"
import type { ReadError } from "../../driver/StoreError.ts"
import type * as Looks from "../../operations/Looks.ts"
import { Operations } from "../../operations/Operations.ts"
import { type Finding, finder } from "../../pg/PgDoctor.ts"
import { span } from "../output.ts"

type Needs = Operations | AdministrationStorage | AllTenants | TenantAdministration

/** Tenants that are looked at one by one, at most. */
const examined = 50

const projection = finder("projections", "its read model does not change any more")

const ofProjection =
  (name: string, tenantId: TenantId, now: number) =>
  (view: Looks.ProjectionView): ReadonlyArray<Finding> => {
    const title = `projection ${view.projection} v${view.version} of tenant ${tenantId}`
    const since = view.cause?.firstAt ?? null
    const rebuild = view.rebuild?.parked === true
    const parked = view.state === "parked" || rebuild
    if (parked)
      return [
        projection(
          "critical",
          `${rebuild ? "the rebuild of " : ""}${title} is parked${since === null ? "" : ` for ${span(now - since.epochMilliseconds)}`}: ${view.rebuild?.error ?? view.error ?? "unknown"}`,
          rebuild
            ? `${name} rebuild ${view.projection} --tenant ${tenantId} --restart`
            : `mend the cause (${name} projections --tenant ${tenantId}), then: ${name} projections resume ${view.projection} --of-version ${view.version} --tenant ${tenantId}`,
          { since }
        )
      ]
    if (view.state !== "stalled") return []
    const { servedMillisAgo: silent } = view
    return [
      projection(
        "critical",
        `${title} is stalled: it has work, and nothing has worked on it for ${silent === null ? "an unknown time" : span(silent)}`,
        "start a program with ProjectionRunner and this projection, or retire the version if no program has it any more",
        silent === null ? {} : { since: DateTime.makeUnsafe(now - silent) }
      )
    ]
  }

const letters = finder("deadLetters", "their events are not in the read models")

/** Projections that are parked or stalled, of the tenants that are farthest behind. */
const projections = (name: string, now: number) =>
  Effect.gen(function* () {
    const operations = yield* Operations
    const { tenants } = yield* operations.tenants({
      order: "distance",
      statuses: ["active", "suspended"],
      limit: examined
    })
    const behind = tenants.filter(({ slowest }) => slowest !== null)
    const found = yield* Effect.forEach(
      behind,
      ({ tenantId }) =>
        operations.projections.pipe(
          Tenant.provide(tenantId),
          Effect.map((views) => views.flatMap(ofProjection(name, tenantId, now)))
        ),
      { concurrency: 4 }
    )
    return found.flat()
  })

const deadLetters = (name: string) =>
  Effect.gen(function* () {
    const operations = yield* Operations
    const { tenants } = yield* operations.tenants({ order: "deadLetters", limit: examined })
    return tenants
      .filter((tenant) => tenant.deadLetters > 0)
      .map(({ deadLetters: events, tenantId }) =>
        letters(
          "warning",
          `tenant ${tenantId} has ${events} dead letters`,
          `${name} dead-letters --tenant ${tenantId}`
        )
      )
  })

const lifecycle = finder("lifecycle", "the tenant cannot be used")

/** Milliseconds after which an import counts as left behind. */
const importTakes = 3_600_000

/** Milliseconds after which the rows of a tenant that has moved must be gone; the grace time is 10 minutes. */
const removedWithin = 3_600_000

const ofState = (
  name: string,
  tenantId: TenantId,
  state: TenantState,
  createdAt: number,
  now: number
): ReadonlyArray<Finding> => {
  if (state.status === "importing" && state.move === undefined)
    return now - createdAt < importTakes
      ? []
      : [
          lifecycle(
            "warning",
            `the import of tenant ${tenantId} has not ended`,
            `${name} import FILE (the same archive goes on), or: ${name} import --abandon --tenant ${tenantId}`,
            { since: DateTime.makeUnsafe(createdAt) }
          )
        ]
  const left =
    state.status === "moving"
      ? state.expiresInMillis
      : state.status === "importing" && state.move !== undefined
        ? state.move.leaseMillis
        : undefined
  if (left !== undefined)
    return left > 0
      ? []
      : [
          lifecycle(
            "critical",
            `the move of tenant ${tenantId} is left by its process${state.status === "moving" ? ": its fence has expired" : ""}`,
            `${name} move --resume --tenant ${tenantId}, or: ${name} move --abort --tenant ${tenantId}`,
            { since: DateTime.makeUnsafe(now + left) }
          )
        ]
  if (state.status === "moved" && !state.purged && state.sinceMillis > removedWithin)
    return [
      lifecycle(
        "warning",
        `tenant ${tenantId} has moved to ${state.to}, and its rows are still here`,
        `${name} move --resume --tenant ${tenantId}`,
        {
          meaning: "the rows take room, and an erasure would have to find them",
          since: DateTime.makeUnsafe(now - state.sinceMillis)
        }
      )
    ]
  if (state.status === "erased" && !state.purged && state.purgeInMillis <= 0)
    return [
      lifecycle(
        "warning",
        `the rows of tenant ${tenantId}, which is erased, are not all removed`,
        `${name} erase --finish --tenant ${tenantId}`,
        {
          meaning: "data that was to be erased is still there",
          since: DateTime.makeUnsafe(state.erasedAt)
        }
      )
    ]
  return []
}

/** Imports, moves and erasures that have begun and not ended. */
const undertakings = (name: string, now: number) =>
  Effect.gen(function* () {
    const operations = yield* Operations
    const storage = yield* AdministrationStorage
    const access = yield* AllTenants
    // All of them, because what remains of tenants that were moved or erased stays for ever.
    const tenants: Array<Looks.TenantSummary> = []
    let after: Looks.TenantCursor | undefined
    do {
      const page = yield* operations.tenants({
        statuses: ["importing", "moving", "moved", "erased"],
        limit: 1000,
        after
      })
      tenants.push(...page.tenants)
      after = page.next ?? undefined
    } while (after !== undefined)
    if (tenants.length === 0) return []
    const accessId = yield* storage.recordAccess({ ...access, operation: "doctor: states of tenants" })
    const found = yield* Effect.forEach(
      tenants,
      ({ createdAt, tenantId }) =>
        Effect.map(storage.tenant({ accessId, tenantId }), (record) =>
          record === undefined ? [] : ofState(name, tenantId, record.state, createdAt.epochMilliseconds, now)
        ),
      { concurrency: 4 }
    )
    return found.flat()
  })

const chains = finder("chains", "a change of stored events would go unnoticed")

/** Days after which chains count as not verified for long. */
const verifiedWithin = 30
const day = 86_400_000

const isDryRun = Schema.is(Schema.Struct({ dryRun: Schema.Literal(true) }))

/** The last verification in the record, and a tenant with a chain. */
const verification = (name: string, now: number) =>
  Effect.gen(function* () {
    const operations = yield* Operations
    const storage = yield* AdministrationStorage
    const access = yield* AllTenants
    const { accesses } = yield* operations.accesses({ operation: "Actions.verify", limit: 100 })
    // A broken chain is an outcome, too, and somebody has seen it. A dry run reads no event.
    const last =
      accesses.find(
        ({ outcome, parameters }) =>
          !isDryRun(parameters) &&
          (outcome?.status === "succeeded" ||
            (outcome?.status === "failed" && outcome.error === "HashChainBroken"))
      )?.accessedAt ?? null
    if (last !== null && now - last.epochMilliseconds < verifiedWithin * day) return []
    const { tenants } = yield* operations.tenants({ order: "head", statuses: ["active"], limit: examined })
    const accessId = yield* storage.recordAccess({ ...access, operation: "doctor: hash chains" })
    const chained = yield* Stream.fromIterable(tenants).pipe(
      Stream.mapEffect(({ tenantId }) => storage.tenant({ accessId, tenantId })),
      Stream.filter((record) => record?.chainedFrom !== undefined && record.position > 0),
      Stream.runHead
    )
    return chained._tag === "None"
      ? []
      : [
          chains(
            "warning",
            last === null
              ? "hash chains were never verified"
              : `hash chains were not verified for ${span(now - last.epochMilliseconds)}`,
            `${name} verify --all`,
            { since: last }
          )
        ]
  })

/** All findings about the work of tenants. */
export const examineWork = (name: string): Effect.Effect<ReadonlyArray<Finding>, ReadError, Needs> =>
  Effect.gen(function* () {
    const now = (yield* DateTime.now).epochMilliseconds
    return [
      ...(yield* projections(name, now)),
      ...(yield* undertakings(name, now)),
      ...(yield* deadLetters(name)),
      ...(yield* verification(name, now))
    ]
  })
