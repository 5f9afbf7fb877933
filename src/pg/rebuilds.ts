/** Rebuilds in PostgreSQL: of a tenant's read model, and of one that all tenants share. */
import { Effect } from "effect"
import * as ProjectionStorage from "../driver/ProjectionStorage.ts"
import { repeatable } from "../driver/repeatable.ts"
import type { OutcomeUnknown, ReadError, StorageUnavailable } from "../driver/StoreError.ts"
import type { TenantId } from "../domain/Tenant.ts"

type Storage = ProjectionStorage.ProjectionStorage["Service"]

/** The statements of the storage. */
interface Statements {
  /** The rows of a query on a tenant. */
  readonly ofTenant: <Row>(
    operation: string,
    key: ProjectionStorage.TenantProjection,
    text: string,
    parameters?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<Row>, ReadError>
  /** The rows of a query without a tenant. */
  readonly rowsOf: <Row>(
    operation: string,
    text: string,
    parameters: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<Row>, StorageUnavailable>
  readonly transaction: <A, E, R>(
    tenantId: TenantId,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | ReadError | OutcomeUnknown, R>
}

const refusal = ({ projection, version }: ProjectionStorage.ProjectionKey, problem: string, passing = true) =>
  new ProjectionStorage.RebuildRefused({ projection, version, problem, passing })

const wroteLive = (tables: ReadonlyArray<string>): string =>
  `its handlers write the live tables (${tables.join(", ")}) instead of those that are being rebuilt: name tables without a schema in them, then rebuild again`

type SwitchColumns = readonly [state: ProjectionStorage.SwitchOutcome | "refused", problem: string | null]

/** The methods of the storage for rebuilds. */
export const make = ({
  ofTenant,
  rowsOf,
  transaction
}: Statements): Pick<
  Storage,
  | "startRebuild"
  | "cancelRebuild"
  | "checkRebuild"
  | "rebuildProblem"
  | "lockLive"
  | "switchRebuild"
  | "startSharedRebuild"
  | "cancelSharedRebuild"
  | "switchSharedRebuild"
> => {
  const rebuildProblem = (
    { projection, version }: ProjectionStorage.ProjectionKey,
    { tables, shared }: { readonly tables: ReadonlyArray<string>; readonly shared: boolean }
  ) =>
    Effect.map(
      rowsOf<[string | null]>(
        "check the tables of a rebuild",
        "select eventsourcing.rebuild_problem($1::pg_catalog.text, $2::integer, $3::pg_catalog.text[], $4::boolean)",
        [projection, version, tables, shared]
      ),
      ([row]) => row?.[0] ?? undefined
    )

  /** Fails if the tables of a projection cannot be rebuilt. */
  const requireRebuildable = (
    key: ProjectionStorage.ProjectionKey & { readonly tables: ReadonlyArray<string> }
  ): Effect.Effect<void, ProjectionStorage.RebuildRefused | StorageUnavailable> =>
    Effect.flatMap(rebuildProblem(key, { ...key, shared: false }), (problem) =>
      problem === undefined ? Effect.void : Effect.fail(refusal(key, problem))
    )

  /** Makes the twins follow their tables, if the login of the program has the right to do so. */
  const renewTwins = (tables: ReadonlyArray<string>) =>
    rowsOf("create the tables of a rebuild", "select eventsourcing.renew_twins($1::pg_catalog.text[])", [
      tables
    ])

  const emptyTwins = (tenantId: TenantId, tables: ReadonlyArray<string>) =>
    rowsOf(
      "empty the tables of a rebuild",
      "select eventsourcing.clear_rebuild($1::pg_catalog.uuid, $2::pg_catalog.text[])",
      [tenantId, tables]
    )

  return {
    rebuildProblem,
    startRebuild: (key) =>
      repeatable(
        "start a rebuild",
        Effect.andThen(
          renewTwins(key.tables),
          transaction(
            key.tenantId,
            Effect.all(
              [
                requireRebuildable(key),
                // A statement of its own, so that it sees the rows of workers that have ended.
                ofTenant(
                  "start a rebuild",
                  key,
                  "select eventsourcing.start_rebuild($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer)"
                ),
                emptyTwins(key.tenantId, key.tables)
              ],
              { discard: true }
            )
          )
        )
      ),
    cancelRebuild: (key) =>
      repeatable(
        "cancel a rebuild",
        transaction(
          key.tenantId,
          Effect.gen(function* () {
            const [row] = yield* ofTenant<[boolean]>(
              "cancel a rebuild",
              key,
              "select eventsourcing.cancel_rebuild($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer)"
            )
            if (row?.[0] !== true) return false
            yield* emptyTwins(key.tenantId, key.tables)
            return true
          })
        )
      ),
    checkRebuild: (claim, tables) =>
      tables.length === 0
        ? Effect.void
        : Effect.flatMap(
            rowsOf<[boolean]>(
              "check the writes of a rebuild",
              "select eventsourcing.live_writes($1::pg_catalog.text[]) > coalesce(nullif(current_setting('eventsourcing.live_writes', true), ''), '0')::bigint",
              [tables]
            ),
            ([row]) =>
              row?.[0] === true ? Effect.fail(refusal(claim, wroteLive(tables), false)) : Effect.void
          ),
    lockLive: (claim) =>
      Effect.map(
        ofTenant<[number]>(
          "lock a read model",
          claim,
          "select eventsourcing.lock_live_projection($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer)"
        ),
        ([row]) => row?.[0] ?? 0
      ),
    switchRebuild: (claim, { tables, position }) =>
      Effect.andThen(
        requireRebuildable({ ...claim, tables }),
        ofTenant(
          "put a rebuilt read model in place",
          claim,
          "select eventsourcing.switch_rebuild($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer, $4::pg_catalog.text[], $5::bigint)",
          [tables, BigInt(position)]
        )
      ).pipe(Effect.asVoid),
    startSharedRebuild: ({ accessId, projection, version, tables, restart }) =>
      Effect.andThen(
        renewTwins(tables),
        Effect.flatMap(
          rowsOf<[string | null]>(
            "start a rebuild",
            "select eventsourcing.start_shared_rebuild($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer, $4::pg_catalog.text[], $5::boolean)",
            [accessId, projection, version, tables, restart]
          ),
          ([row]) => {
            const problem = row?.[0] ?? undefined
            return problem === undefined
              ? Effect.void
              : Effect.fail(refusal({ projection, version }, problem))
          }
        )
      ),
    cancelSharedRebuild: ({ accessId, projection, version, tables }) =>
      Effect.map(
        rowsOf<[boolean]>(
          "cancel a rebuild",
          "select eventsourcing.cancel_shared_rebuild($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer, $4::pg_catalog.text[])",
          [accessId, projection, version, tables]
        ),
        ([row]) => row?.[0] === true
      ),
    switchSharedRebuild: ({ accessId, projection, version, tables }) =>
      Effect.flatMap(
        rowsOf<SwitchColumns>(
          "put a rebuilt read model in place",
          "select state, problem from eventsourcing.switch_shared_rebuild($1::pg_catalog.uuid, $2::pg_catalog.text, $3::integer, $4::pg_catalog.text[])",
          [accessId, projection, version, tables]
        ),
        ([row]): Effect.Effect<ProjectionStorage.SwitchOutcome, ProjectionStorage.RebuildRefused> => {
          const [state, problem] = row ?? ["none", null]
          return state === "refused"
            ? Effect.fail(refusal({ projection, version }, problem ?? "its tables do not allow it"))
            : Effect.succeed(state)
        }
      )
  }
}
