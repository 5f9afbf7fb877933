/** The administration of tenants in several storages: each operation goes to the storage that the directory names for its tenant. */
import { Effect } from "effect"
import {
  type Administered,
  AdministrationStorage,
  type Plan,
  type TenantOverviewRow
} from "../driver/AdministrationStorage.ts"
import { byCodePoints } from "../driver/codePoints.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { mergedPage, type Placed } from "./mergedPages.ts"
import { type Backend, type Router, unknownAsUnavailable } from "./router.ts"

type Administration = AdministrationStorage["Service"]

/** A plan is defined in every storage. Only in one that was added since, or where a definition failed, it may be missing or differ. */
const merged = (ofStorages: ReadonlyArray<ReadonlyArray<Plan>>): ReadonlyArray<Plan> => {
  const plans = new Map<string, Plan>()
  for (const plan of ofStorages.flat()) if (!plans.has(plan.name)) plans.set(plan.name, plan)
  return [...plans.values()].toSorted((one, other) => byCodePoints(one.name, other.name))
}

/** During a move and after it two storages have rows of the tenant: those of its home are kept. */
const keepHome = <M extends Backend>(router: Router<M>) =>
  Effect.fnUntraced(function* (rows: ReadonlyArray<Placed<TenantOverviewRow>>) {
    const left = new Set<Placed<TenantOverviewRow>>()
    for (const placed of rows) {
      const { move, status, tenantId } = placed.row
      if (status !== "moved" && (status !== "importing" || move === undefined)) continue
      const home = yield* Effect.catchTag(router.homeOf(tenantId), "TenantRefused", () => Effect.undefined)
      if (home !== undefined && home !== placed.placement) left.add(placed)
    }
    return (placed: Placed<TenantOverviewRow>): boolean => !left.has(placed)
  })

/**
 * The tenant's state may forbid all other work, so no other check than the directory's comes before an operation. The access is
 * recorded where it is used.
 */
export const make = <M extends Backend>(router: Router<M>): Administration => {
  const on = <Request extends Administered, A, E>(
    operation: string,
    request: Request,
    run: (administration: Administration, request: Request) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | StorageUnavailable> => {
    const used: Effect.Effect<A, E | StorageUnavailable> = unknownAsUnavailable(operation)(
      router.use(router.acquire(request.tenantId), (backend) =>
        Effect.andThen(router.requireAccess(backend, request.accessId), run(backend.administration, request))
      )
    )
    return used
  }

  return AdministrationStorage.of({
    recordAccess: router.recordAccess,
    tenant: (request) => on("read a tenant for its administration", request, (at, given) => at.tenant(given)),
    changeState: (request) => on(request.change, request, (at, given) => at.changeState(given)),
    movingTenants: ({ accessId }) =>
      Effect.map(
        router.onEvery(accessId, ({ administration }) => administration.movingTenants({ accessId })),
        (answers) => [...new Set(answers.flatMap(({ value }) => value))].toSorted()
      ),
    overviews: (request) =>
      mergedPage({
        start: request.after,
        limit: request.limit,
        read: (after) =>
          router.onEvery(request.accessId, ({ administration }) =>
            administration.overviews({ ...request, after })
          ),
        cursorOf: ({ tenantId, value }): typeof request.after => ({ tenantId, value }),
        compare: (one, other) => other.value - one.value || byCodePoints(one.tenantId, other.tenantId),
        keep: keepHome(router)
      }),
    work: (request) => on("read the work of projections", request, (at, given) => at.work(given)),
    setHold: (request) => on("set the legal hold", request, (at, given) => at.setHold(given)),
    setQuota: (request) => on("set the quota", request, (at, given) => at.setQuota(given)),
    // of a tenant in use, so it follows the tenant to a new home
    changeSubject: (request) =>
      unknownAsUnavailable(`change a subject (${request.change})`)(
        router.following(request.tenantId, router.acquire(request.tenantId), (backend) =>
          Effect.andThen(
            router.requireAccess(backend, request.accessId),
            backend.administration.changeSubject(request)
          )
        )
      ),
    subjects: (request) => on("read subjects", request, (at, given) => at.subjects(given)),
    writeSubjects: (request) => on("write subjects", request, (at, given) => at.writeSubjects(given)),
    definePlan: (request) =>
      Effect.asVoid(
        router.onEvery(request.accessId, ({ administration }) => administration.definePlan(request))
      ),
    plans: ({ accessId }) =>
      Effect.map(
        router.onEvery(accessId, ({ administration }) => administration.plans({ accessId })),
        (answers) => merged(answers.map(({ value }) => value))
      ),
    readEvents: (request) =>
      on("read a log for its administration", request, (at, given) => at.readEvents(given)),
    // the storage stays open as long as the reader
    openEvents: (request) =>
      unknownAsUnavailable("read a log for its administration")(
        Effect.flatMap(router.acquire(request.tenantId), (backend) =>
          Effect.andThen(
            router.requireAccess(backend, request.accessId),
            backend.administration.openEvents?.(request) ??
              // It asks for the recorded access, as opening does.
              Effect.as(backend.administration.tenant(request), undefined)
          )
        )
      ),
    hasPayloadWith: (request) =>
      on("search a log for its administration", request, (at, given) => at.hasPayloadWith(given)),
    writeEvents: (request) => on("write events", request, (at, given) => at.writeEvents(given)),
    readCommandKeys: (request) => on("read command keys", request, (at, given) => at.readCommandKeys(given)),
    writeCommandKeys: (request) =>
      on("write command keys", request, (at, given) => at.writeCommandKeys(given)),
    readDeadLetters: (request) => on("read dead letters", request, (at, given) => at.readDeadLetters(given)),
    writeDeadLetters: (request) =>
      on("write dead letters", request, (at, given) => at.writeDeadLetters(given)),
    readProgress: (request) => on("read progress", request, (at, given) => at.readProgress(given)),
    writeProgress: (request) => on("write progress", request, (at, given) => at.writeProgress(given)),
    openTransactions: (request) =>
      on("list open transactions", request, (at, given) => at.openTransactions(given)),
    tables: (request) => on("list the tables of tenants", request, (at, given) => at.tables(given)),
    readTable: (request) => on("read a table", request, (at, given) => at.readTable(given)),
    writeTable: (request) => on("write a table", request, (at, given) => at.writeTable(given)),
    residues: [
      "Each database of the tenant that held its rows may hold copies of them: dead rows, write-ahead log and backups, until these expire."
    ],
    purge: (request) => on("purge a tenant", request, (at, given) => at.purge(given))
  })
}
