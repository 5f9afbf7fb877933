/**
 * Root keys of a key vault in key management services. Each is two functions around the client that a program has anyway: no
 * package is needed for it.
 *
 * The service wraps one key of 32 bytes for each tenant, and a process asks it again every five minutes for the tenants that it
 * works for. It binds a wrapped key to its tenant, so that it does not unwrap for another one. Rotate the key in the service itself:
 * wrapped keys name their version. `KeyVault.rotateTenant` then wraps the keys of a tenant under the newest one.
 *
 *   const Vault = PgKeyVault.layer({ key: awsKms(new KMS({}), "alias/people") }).pipe(Layer.provide(VaultDatabase))
 */
import { type Duration, Effect, Redacted, Schema } from "effect"
import * as Base64 from "effect/encoding/Base64"
import { HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
import type { KeyVault } from "effect-eventsourcing"

class KmsFailed extends Schema.TaggedError<KmsFailed>()("KmsFailed", {}) {}

/** A call that must answer within a time. The vault replaces all errors by its own, and passes no text of the service on. */
const call = <A>(run: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, KmsFailed> =>
  Effect.tryPromise({ try: run, catch: () => new KmsFailed() }).pipe(
    Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => new KmsFailed() })
  )

const orFailed = <A>(value: A | null | undefined): Effect.Effect<A, KmsFailed> =>
  value === null || value === undefined ? new KmsFailed() : Effect.succeed(value)

/** The part of `KMS` of `@aws-sdk/client-kms` that is used. */
interface AwsKms {
  readonly encrypt: (input: {
    KeyId: string
    Plaintext: Uint8Array
    EncryptionContext: Record<string, string>
  }) => Promise<{ CiphertextBlob?: Uint8Array }>
  readonly decrypt: (input: {
    KeyId: string
    CiphertextBlob: Uint8Array
    EncryptionContext: Record<string, string>
  }) => Promise<{ Plaintext?: Uint8Array }>
}

/** AWS KMS, with a symmetric key by its id, ARN or alias. */
export const awsKms = (kms: AwsKms, KeyId: string): KeyVault.RootKey<KmsFailed> => ({
  wrap: (key, { tenantId }) =>
    call(() =>
      kms.encrypt({ KeyId, Plaintext: Redacted.value(key), EncryptionContext: { tenant: tenantId } })
    ).pipe(Effect.flatMap(({ CiphertextBlob }) => orFailed(CiphertextBlob))),
  unwrap: (CiphertextBlob, { tenantId }) =>
    call(() => kms.decrypt({ KeyId, CiphertextBlob, EncryptionContext: { tenant: tenantId } })).pipe(
      Effect.flatMap(({ Plaintext }) => orFailed(Plaintext)),
      Effect.map((bytes) => Redacted.make(bytes))
    )
})

/** The part of `KeyManagementServiceClient` of `@google-cloud/kms` that is used. */
interface GoogleKms {
  readonly encrypt: (request: {
    name: string
    plaintext: Uint8Array
    additionalAuthenticatedData: Uint8Array
  }) => Promise<ReadonlyArray<{ readonly ciphertext?: Uint8Array | string | null } | null | undefined>>
  readonly decrypt: (request: {
    name: string
    ciphertext: Uint8Array
    additionalAuthenticatedData: Uint8Array
  }) => Promise<ReadonlyArray<{ readonly plaintext?: Uint8Array | string | null } | null | undefined>>
}

const bytesOf = (value: Uint8Array | string | null | undefined): Effect.Effect<Uint8Array, KmsFailed> =>
  Effect.flatMap(orFailed(value), (found) =>
    typeof found === "string"
      ? Effect.mapError(Effect.fromResult(Base64.decode(found)), () => new KmsFailed())
      : Effect.succeed(found)
  )

const utf8 = new TextEncoder()

/** Google Cloud KMS, with the name of a key: `projects/…/locations/…/keyRings/…/cryptoKeys/…`. */
export const googleKms = (kms: GoogleKms, name: string): KeyVault.RootKey<KmsFailed> => ({
  wrap: (key, { tenantId }) =>
    call(() =>
      kms.encrypt({
        name,
        plaintext: Redacted.value(key),
        additionalAuthenticatedData: utf8.encode(tenantId)
      })
    ).pipe(Effect.flatMap(([answer]) => bytesOf(answer?.ciphertext))),
  unwrap: (ciphertext, { tenantId }) =>
    call(() => kms.decrypt({ name, ciphertext, additionalAuthenticatedData: utf8.encode(tenantId) })).pipe(
      Effect.flatMap(([answer]) => bytesOf(answer?.plaintext)),
      Effect.map((bytes) => Redacted.make(bytes))
    )
})

const Encrypted = Schema.Struct({ data: Schema.Struct({ ciphertext: Schema.String }) })
const Decrypted = Schema.Struct({ data: Schema.Struct({ plaintext: Schema.String }) })

/** Settings of {@link vaultTransit}. */
export interface TransitOptions {
  /** The address of the server, such as `https://vault:8200`. */
  readonly url: string
  readonly token: Redacted.Redacted
  /** The name of the key, of a type that binds data (`aes256-gcm96`, the default of the engine). */
  readonly key: string
  /** The longest wait for an answer. Default: 5 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** The transit engine of HashiCorp Vault, over HTTP. */
export const vaultTransit = ({
  key,
  timeout = "5 seconds",
  token,
  url
}: TransitOptions): KeyVault.RootKey<KmsFailed, HttpClient.HttpClient> => {
  const post = <S extends Schema.ConstraintDecoder<unknown>>(
    operation: "encrypt" | "decrypt",
    body: Readonly<Record<string, string>>,
    answer: S
  ) =>
    HttpClient.HttpClient.use((client) =>
      HttpClientRequest.post(`${url}/v1/transit/${operation}/${key}`).pipe(
        HttpClientRequest.setHeader("X-Vault-Token", Redacted.value(token)),
        HttpClientRequest.bodyJsonUnsafe(body),
        HttpClient.filterStatusOk(client).execute,
        Effect.flatMap(HttpClientResponse.schemaBodyJson(answer)),
        Effect.timeout(timeout)
      )
    ).pipe(Effect.mapError(() => new KmsFailed()))
  return {
    wrap: (secret, { tenantId }) =>
      Effect.map(
        post(
          "encrypt",
          {
            plaintext: Base64.encode(Redacted.value(secret)),
            associated_data: Base64.encode(utf8.encode(tenantId))
          },
          Encrypted
        ),
        ({ data }) => utf8.encode(data.ciphertext)
      ),
    unwrap: (wrapped, { tenantId }) =>
      Effect.flatMap(
        post(
          "decrypt",
          {
            ciphertext: new TextDecoder().decode(wrapped),
            associated_data: Base64.encode(utf8.encode(tenantId))
          },
          Decrypted
        ),
        ({ data }) => Effect.map(bytesOf(data.plaintext), (bytes) => Redacted.make(bytes))
      )
  }
}
