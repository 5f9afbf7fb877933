/** Records of a key vault in a database: one round trip for each operation, to a function of `migrations/vault/`. */
import { Effect, Result } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as Hex from "effect/encoding/Hex"
import * as deadlines from "./deadlines.ts"
import * as sqlErrors from "./sqlErrors.ts"
import { decodedRows } from "./statement.ts"
import type { Fence } from "../forgetting/KeyVault.ts"
import type { Owner, WrappedKey, WrappingKey } from "../forgetting/keyRecords.ts"
import type { StoredRecords } from "../forgetting/openVault.ts"
import { failed } from "../forgetting/vaultFailures.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"

/** A data key as the functions take and return it: bytes in hexadecimal digits. */
interface StoredKey extends Owner, Pick<WrappedKey, "keyId" | "version" | "wrappedBy"> {
  readonly wrapped: string
}

interface StoredWrappingKey {
  readonly keyId: string
  readonly wrapped: string
}

type StoredFence = Omit<Fence, "allowedAgainAt"> & { readonly allowedAgainAt: number | null }

const bytesOf = (hex: string): Uint8Array => Result.getOrElse(Hex.decode(hex), () => new Uint8Array())

const wrappingKeyOf = ({ keyId, wrapped }: StoredWrappingKey): WrappingKey => ({
  keyId,
  wrapped: bytesOf(wrapped)
})

const keyOf = ({ keyId, kind, name, version, wrapped, wrappedBy }: StoredKey): WrappedKey => ({
  keyId,
  owner: { kind, name },
  version,
  wrappedBy,
  wrapped: bytesOf(wrapped)
})

/** Keys, and the words that stand for others. */
const keysOf = <Other extends string>(
  answers: ReadonlyArray<StoredKey | Other | null>
): ReadonlyArray<WrappedKey | Other | undefined> =>
  answers.map((answer) => (answer === null ? undefined : typeof answer === "object" ? keyOf(answer) : answer))

const fenceOf = (fence: StoredFence): Fence => ({
  ...fence,
  allowedAgainAt: fence.allowedAgainAt ?? undefined
})

const migrate =
  "migrate its database with PgKeyVault.migrate as the owner, and grant eventsourcing_vault to this login"

/** The remedy of a failure, by the class or code of its SQLSTATE. */
const remedies: ReadonlyArray<readonly [beginning: string, remedy: string]> = [
  ["28", "correct the credentials of its database"],
  ["3D", "its database is not there: correct its name, or restore it from its backup"],
  ["3F", migrate],
  ["42", migrate],
  ["53", "give its database more room or connections, then try again"]
]

const failure = (operation: string, error: SqlError.SqlError): StorageUnavailable => {
  const code = sqlErrors.sqlState(error)
  const remedy = remedies.find(([beginning]) => code?.length === 5 && code.startsWith(beginning))?.[1]
  const retryable = sqlErrors.isTransient(error)
  return failed(
    operation,
    code ?? error.reason._tag,
    retryable,
    remedy ??
      (retryable || deadlines.isNoAnswer(error)
        ? "its database did not answer, or refused for now: look at it, or try again later"
        : "look for the code in the log of its database")
  )
}

const selectKeys =
  "select pg_catalog.jsonb_build_object('keyId', k.key_id, 'kind', k.kind, 'name', k.name, 'version', k.version, " +
  "'wrappedBy', k.wrapped_by, 'wrapped', pg_catalog.encode(k.wrapped, 'hex')) from eventsourcing_vault.data_keys k "

/** Maximum number of keys that a rotation wraps again in one statement. */
const rewrapLimit = 500

/** Opens the records of the client's database. */
export const vaultRecords = <R>(
  makeCheck: Effect.Effect<Uint8Array, StorageUnavailable, R> | undefined
): Effect.Effect<StoredRecords, StorageUnavailable, SqlClient.SqlClient | R> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient

    /** The first column of a statement that may be repeated. `A` is the type of that column. */
    const ask = <A>(
      operation: string,
      text: string,
      parameters: ReadonlyArray<unknown>,
      commits = false
    ): Effect.Effect<ReadonlyArray<A>, StorageUnavailable> =>
      decodedRows<readonly [A]>(sql, text, parameters, { commits }).pipe(
        Effect.mapBoth({
          onFailure: (error) => failure(operation, error),
          onSuccess: (rows) => rows.map(([value]) => value)
        })
      )
    const one = <A>(
      operation: string,
      text: string,
      parameters: ReadonlyArray<unknown>,
      commits = false
    ): Effect.Effect<A, StorageUnavailable> =>
      Effect.flatMap(ask<A>(operation, text, parameters, commits), ([value]) =>
        value === undefined ? Effect.die(new Error(`no answer to ${text}`)) : Effect.succeed(value)
      )
    /** A change under the tenant's lock. */
    const change = <A>(operation: string, text: string, parameters: ReadonlyArray<unknown>) =>
      one<A>(operation, text, parameters, true)

    /** Keys, and the words that stand for others, in the given order. */
    const askKeys = <Other extends string>(
      operation: string,
      text: string,
      parameters: ReadonlyArray<unknown>,
      commits = false
    ): Effect.Effect<ReadonlyArray<WrappedKey | Other | undefined>, StorageUnavailable> =>
      Effect.map(one<ReadonlyArray<StoredKey | Other | null>>(operation, text, parameters, commits), keysOf)

    const open = "open the key vault"
    const isApart = yield* one<boolean>(
      open,
      "select not exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace " +
        "where n.nspname = 'eventsourcing' and c.relname = 'events')",
      []
    )
    if (!isApart)
      return yield* failed(
        open,
        "NotApart",
        false,
        "its database has events, whose backups must not have the keys: give the vault a database of its own"
      )
    const readCheck = ask<Uint8Array>(open, "select v.root_check from eventsourcing_vault.vault v", [])
    const [found] = yield* readCheck
    const check =
      found ??
      (makeCheck === undefined
        ? undefined
        : yield* change<Uint8Array>(open, "select eventsourcing_vault.create_vault($1::pg_catalog.bytea)", [
            yield* makeCheck
          ]))
    if (check === undefined)
      return yield* failed(
        open,
        "NoVault",
        false,
        "its database has no key vault: give the right one, restore it from its backup, or create one with createIfMissing if nothing was ever sealed"
      )

    return {
      check,
      wrappingKeys: (tenantId) =>
        Effect.map(
          ask<StoredWrappingKey>(
            "read the keys of the tenant",
            "select pg_catalog.jsonb_build_object('keyId', w.key_id, 'wrapped', pg_catalog.encode(w.wrapped, 'hex')) " +
              "from eventsourcing_vault.wrapping_keys w where w.tenant_id = $1::pg_catalog.uuid order by w.number",
            [tenantId]
          ),
          (keys) => keys.map(wrappingKeyOf)
        ),
      addWrappingKey: (tenantId, { keyId, wrapped }, follows) =>
        Effect.map(
          change<StoredWrappingKey>(
            "add a key of the tenant",
            "select eventsourcing_vault.add_wrapping_key($1::pg_catalog.uuid, $2::pg_catalog.text, $3::pg_catalog.bytea, $4::pg_catalog.text)",
            [tenantId, keyId, wrapped, follows ?? null]
          ),
          wrappingKeyOf
        ),
      dropWrappingKeys: (tenantId) =>
        change(
          "remove keys of the tenant",
          "select eventsourcing_vault.drop_wrapping_keys($1::pg_catalog.uuid)",
          [tenantId]
        ),
      current: (tenantId, owners) =>
        askKeys<"forgotten">(
          "read current keys",
          "select eventsourcing_vault.current_keys($1::pg_catalog.uuid, $2::pg_catalog.jsonb)",
          [tenantId, JSON.stringify(owners)]
        ),
      add: (tenantId, keys) =>
        askKeys<"forgotten">(
          "add data keys",
          "select eventsourcing_vault.add_keys($1::pg_catalog.uuid, $2::pg_catalog.jsonb)",
          [
            tenantId,
            JSON.stringify(
              keys.map(({ follows, keyId, owner, wrapped, wrappedBy }) => ({
                ...owner,
                keyId,
                follows,
                wrappedBy,
                wrapped: Hex.encode(wrapped)
              }))
            )
          ],
          true
        ),
      find: (tenantId, keyIds) =>
        askKeys<"destroyed">(
          "find data keys",
          "select eventsourcing_vault.find_keys($1::pg_catalog.uuid, $2::pg_catalog.jsonb)",
          [tenantId, JSON.stringify(keyIds)]
        ),
      wrappedByOthers: (tenantId, wrappingKeyId) =>
        Effect.map(
          ask<StoredKey>(
            "find keys to wrap again",
            selectKeys +
              "where k.tenant_id = $1::pg_catalog.uuid and k.wrapped_by <> $2::pg_catalog.text and k.fenced_by is null limit $3::integer",
            [tenantId, wrappingKeyId, rewrapLimit]
          ),
          (keys) => keys.map(keyOf)
        ),
      rewrap: (tenantId, keys) =>
        change(
          "wrap data keys again",
          "select eventsourcing_vault.rewrap_keys($1::pg_catalog.uuid, $2::pg_catalog.jsonb)",
          [
            tenantId,
            JSON.stringify(
              keys.map(({ keyId, wrapped, wrappedBy }) => ({
                keyId,
                wrappedBy,
                wrapped: Hex.encode(wrapped)
              }))
            )
          ]
        ),
      fence: (tenantId, fence) =>
        Effect.map(
          change<StoredFence>(
            "record a fence",
            "select eventsourcing_vault.add_fence($1::pg_catalog.uuid, $2::pg_catalog.jsonb)",
            [tenantId, JSON.stringify(fence)]
          ),
          fenceOf
        ),
      destroy: (tenantId, forgetting) =>
        change(
          "destroy data keys",
          "select eventsourcing_vault.destroy_keys($1::pg_catalog.uuid, $2::pg_catalog.uuid)",
          [tenantId, forgetting]
        ),
      fences: (tenantId, after) =>
        Effect.map(
          one<ReadonlyArray<StoredFence>>(
            "read fences",
            "select eventsourcing_vault.list_fences($1::pg_catalog.uuid, $2::integer)",
            [tenantId, after]
          ),
          (fences) => fences.map(fenceOf)
        ),
      allow: (tenantId, subject, allowedAt) =>
        change(
          "allow a subject again",
          "select eventsourcing_vault.allow_subject($1::pg_catalog.uuid, $2::pg_catalog.text, $3::bigint)",
          [tenantId, subject, BigInt(allowedAt)]
        ),
      erase: (tenantId) =>
        change("destroy the keys of a tenant", "select eventsourcing_vault.erase_keys($1::pg_catalog.uuid)", [
          tenantId
        ]),
      addDestroyed: (tenantId, keyIds) =>
        change(
          "record destroyed keys",
          "select eventsourcing_vault.add_destroyed_keys($1::pg_catalog.uuid, $2::pg_catalog.jsonb)",
          [tenantId, JSON.stringify(keyIds)]
        ),
      all: (tenantId) =>
        Effect.map(
          ask<StoredKey>(
            "read all data keys",
            selectKeys +
              "where k.tenant_id = $1::pg_catalog.uuid and k.fenced_by is null and k.wrapped is not null " +
              "order by k.kind, k.name, k.version",
            [tenantId]
          ),
          (keys) => keys.map(keyOf)
        )
    }
  })
