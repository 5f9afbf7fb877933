/**
 * A vault of the keys of personal fields in a PostgreSQL database of its own, for programs on several machines.
 */
import { type Config, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as Migrate from "./migrate.ts"
import { vaultFiles } from "./sqlFiles.ts"
import { vaultRecords } from "./vaultRecords.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import type { KeyVault, Root, VaultOptions } from "../forgetting/KeyVault.ts"
import { openVault } from "../forgetting/openVault.ts"
import { layerPer } from "../internal/layerPer.ts"

/** Settings of {@link layer}. */
export interface Options<E = never, R = never> extends VaultOptions {
  /**
   * The root key. Generate one with `openssl rand -base64 32`, and keep it where neither this database nor the events are: without it
   * the vault is worth nothing, and with it everything can be read.
   */
  readonly key: Root<E, R>
  /**
   * True to create a vault in a migrated database that has none. Leave it out once something is sealed: a lost vault is then an error,
   * and no empty one is put in its place. Default: false.
   */
  readonly createIfMissing?: boolean | undefined
}

/** The schema number of the vault's files, which is that of `migrations/vault/schema_version.sql`. */
const number = 1

/**
 * Applies the files of `migrations/vault/` that the database lacks or has with another text, as its owner. Returns their paths.
 *
 * **Details**
 *
 * It works as `PgMigrator.run` does for the events: everything or nothing, from any number of processes at once. The
 * database must have no events. Afterwards grant the role `eventsourcing_vault` to the login of the program; it has no right on
 * events, and the roles of the event store have none on the vault. An administrator can run
 * `psql -1 -v ON_ERROR_STOP=1 -f migrations/vault/install.sql` instead.
 *
 * Raised errors: `PgMigrator.MigrationError`.
 */
export const migrate: Effect.Effect<
  ReadonlyArray<string>,
  Migrate.MigrationError,
  SqlClient.SqlClient
> = Migrate.migrate({ files: vaultFiles, number, schema: "eventsourcing_vault" })

/** Applies the files when the layer is built. See {@link migrate}. */
export const layerMigrations: Layer.Layer<never, Migrate.MigrationError, SqlClient.SqlClient> = layerPer(
  [SqlClient.SqlClient],
  () => Layer.effectDiscard(migrate)
)

/**
 * A vault in the database of a client, which any number of processes on any number of machines may share.
 *
 * **When to use**
 *
 * When programs on several machines seal or open personal fields. On one machine, `KeyVault.layerFile` needs no server.
 *
 * **Details**
 *
 * The database is apart from the events: another database, at best on another server. The layer refuses one with events. A
 * backup of the events must not contain the keys, because restoring it would bring back everybody who was forgotten since.
 *
 * Each change is one transaction under the lock of its tenant. If two processes make the key of a person at the same time, one of
 * them wins and both use its key. A process keeps keys for a while (`Forgetting.CacheOptions`), but uses none of them without
 * having compared the tenant's number of forgotten subjects: from the moment in which `forget` has returned in one process, none
 * shows or writes data of the person. The rows of keys that are destroyed are overwritten; the former ones vanish with the next
 * vacuum, which comes by itself.
 *
 * *Backups of the vault.* Make them often, because a lost vault loses all personal data, and keep them apart from those of the
 * events, under other rights. A backup, an archive of the write-ahead log and a standby that lags have the keys that were destroyed
 * since, wrapped by the root key: somebody who has both can read what was forgotten. So keep them no longer than you may take to
 * forget somebody. A restored vault lacks the newest fences; the storage of the events has them, and the first use of a tenant
 * in a process, or `Forgetting.catchUp`, forgets these persons in the vault again.
 *
 * A database that does not answer is `StorageUnavailable` with the reason `KeyVaultFailed`, after the deadlines of its client
 * (`PgServer.layer`) and `PgTenant.Silence`. So is a database without a vault (`NoVault`), or of another root key (`WrongRootKey`);
 * nothing is written then. A change that was sent and not answered may still happen: after such a failure of `forget`, call it again.
 *
 * **Example**
 *
 * ```ts
 * const Vault = PgKeyVault.layer({ key: Config.Redacted("VAULT_KEY") }).pipe(
 *   Layer.provide(PgServer.layer({ url: vaultUrl }))
 * )
 *
 * // once, as the owner of the vault's database
 * const install = PgKeyVault.migrate.pipe(Effect.provide(PgServer.layer({ url: vaultOwnerUrl })))
 * ```
 */
export const layer = <E = never, R = never>(
  options: Options<E, R>
): Layer.Layer<KeyVault, Config.ConfigError | StorageUnavailable, SqlClient.SqlClient | R> =>
  openVault({
    key: options.key,
    options,
    place: "its database",
    createIfMissing: options.createIfMissing === true,
    records: vaultRecords
  })
