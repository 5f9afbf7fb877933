/**
 * A program that makes, destroys and rotates keys without a pause, and writes each acknowledged step to its output.
 * `test/forgetting/KeyVault.crash.long.test.ts` kills it.
 */
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Redacted } from "effect"
import { uuidV4Unsafe } from "effect/crypto/SecureRandom"
import { createHash } from "node:crypto"
import { writeSync } from "node:fs"
import { KeyVault, type DataKey } from "../../src/forgetting/KeyVault.ts"
import * as Vaults from "../../src/forgetting/KeyVault.ts"
import * as PgKeyVault from "../../src/pg/PgKeyVault.ts"
import type { TenantId } from "../../src/domain/Tenant.ts"
import { layerFiles } from "./nodeFiles.ts"

/** An acknowledged step, or the beginning of one. */
export type Step =
  | {
      readonly step: "key"
      readonly tenantId: string
      /** The subject, or the purpose of a key of the tenant. */
      readonly subject: string
      readonly keyId: string
      readonly version: number
      readonly secret: string
    }
  | {
      readonly step: "fencing"
      readonly tenantId: string
      readonly subject: string
      readonly forgetting: string
    }
  | {
      readonly step: "fenced"
      readonly tenantId: string
      readonly forgetting: string
      readonly number: number
    }
  | { readonly step: "destroyed"; readonly tenantId: string; readonly forgetting: string }
  | { readonly step: "rotated" | "allowed"; readonly tenantId: string }
  /** Must not occur. */
  | { readonly step: "violation"; readonly problem: string }

/** The settings of the program, from its environment: the path of a file, or a database. */
export interface Settings {
  readonly tenants: ReadonlyArray<string>
  readonly path?: string | undefined
  readonly database?:
    | {
        readonly host: string
        readonly port: number
        readonly username: string
        readonly password: string
        readonly database: string
      }
    | undefined
}

/** The environment variables with the settings, and with the root key. */
export const settingsName = "EVENTSOURCING_VAULT_WRITER"
export const rootKeyName = "K"

/** A vault, with a cache that hides no rotation from the test. */
export const vaultOf = ({ database, path = "" }: Settings): Layer.Layer<KeyVault, unknown> => {
  const options = { key: Config.Redacted(rootKeyName), createIfMissing: true, wrappingKeys: 4 }
  return database === undefined
    ? Vaults.layerFile({ ...options, path }).pipe(Layer.provide(layerFiles()))
    : PgKeyVault.layer(options).pipe(
        Layer.provide(
          PgClient.layer({ ...database, password: Redacted.make(database.password), maxConnections: 3 })
        )
      )
}

export const secretOf = ({ secret }: DataKey): string =>
  createHash("sha256").update(Redacted.value(secret)).digest("hex")

// To a pipe, on this thread, so that written lines survive the process.
const say = (step: Step): Effect.Effect<void> =>
  Effect.sync(() => void writeSync(1, `${JSON.stringify(step)}\n`))

const purposes = ["index", "snapshots", "fingerprints"] as const
const pick = <A>(from: ReadonlyArray<A>): A => from[Math.floor(Math.random() * from.length)] as A

const program = ({ tenants }: Settings) =>
  Effect.gen(function* () {
    const vault = yield* KeyVault
    for (;;) {
      const tenantId = pick(tenants) as TenantId
      const subject = `s${Math.floor(Math.random() * 8)}`
      const dice = Math.random()
      if (dice < 0.5) {
        const [key] = yield* vault.currentKeys({ tenantId, subjects: [subject] })
        if (typeof key === "object")
          yield* say({
            step: "key",
            tenantId,
            subject,
            keyId: key.keyId,
            version: key.version,
            secret: secretOf(key)
          })
      } else if (dice < 0.6) {
        const purpose = pick(purposes)
        const key = yield* vault.tenantKey({ tenantId, purpose })
        yield* say({
          step: "key",
          tenantId,
          subject: `purpose ${purpose}`,
          keyId: key.keyId,
          version: key.version,
          secret: secretOf(key)
        })
      } else if (dice < 0.75) {
        const forgetting = uuidV4Unsafe()
        const [before] = yield* vault.currentKeys({ tenantId, subjects: [subject] })
        yield* say({ step: "fencing", tenantId, subject, forgetting })
        const { number } = yield* vault.fence({
          tenantId,
          subject,
          forgetting,
          forgottenAt: 1,
          actor: "dpo",
          reason: "test"
        })
        yield* say({ step: "fenced", tenantId, forgetting, number })
        yield* vault.destroy({ tenantId, forgetting })
        yield* say({ step: "destroyed", tenantId, forgetting })
        if (typeof before === "object") {
          const [after] = yield* vault.keysOf({ tenantId, keyIds: [before.keyId] })
          if (after !== "destroyed")
            yield* say({ step: "violation", problem: `key ${before.keyId} is there after its fence` })
        }
      } else if (dice < 0.85) {
        yield* vault.allow({ tenantId, subject, allowedAt: 2 })
        yield* say({ step: "allowed", tenantId })
      } else if (dice < 0.92) {
        yield* vault.rotateSubject({ tenantId, subject })
        yield* say({ step: "rotated", tenantId })
      } else {
        yield* vault.rotateTenant({ tenantId })
        yield* say({ step: "rotated", tenantId })
      }
    }
  })

const settings = process.env[settingsName]
// Only in processes that are started for this program.
if (settings !== undefined) {
  const given = JSON.parse(settings) as Settings
  await Effect.runPromise(Effect.provide(program(given), vaultOf(given)))
}
