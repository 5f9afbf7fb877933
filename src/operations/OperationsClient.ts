/**
 * `Operations` of a service elsewhere, over HTTP: the same contract, so that a command line or another program does not care.
 *
 * **Details**
 *
 * The reason of `TenantAdministration` or `AllTenants` and the `PayloadGrant` of the caller go with each request. The service decides on
 * the actor by the credential of the client, and gives at most the payloads that it allows this operator.
 *
 * A service that refuses or cannot be reached is `StorageUnavailable`, with the status as `code` if there is one. A number outside of
 * its range is a defect, as with the service itself.
 */
import { Effect, Layer, Schema, Stream } from "effect"
import { type HttpClient, HttpClientError } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import { currentTenant } from "../domain/currentTenant.ts"
import { AllTenants, type CrossTenantAccess, TenantAdministration, type TenantId } from "../domain/Tenant.ts"
import { ConnectionFailed, OtherFailure, StorageUnavailable } from "../driver/StoreError.ts"
import { Operations, type Operator } from "./Operations.ts"
import { Api } from "./apiGroups.ts"
import { type Grant, PayloadGrant } from "./PayloadGrant.ts"

/** Settings of the client. */
export interface Options {
  /** The address of the routes, such as `https://orders.example/operations`. */
  readonly baseUrl: string | URL
  /** Adds the credential to each request, such as `HttpClient.mapRequest(HttpClientRequest.bearerToken(token))`. Default: none. */
  readonly transformClient?: ((client: HttpClient.HttpClient) => HttpClient.HttpClient) | undefined
}

/** Keys that are undefined are left out, because a query has none of these. */
type Given<A> = { readonly [K in keyof A]: Exclude<A[K], undefined> }

const given = <A extends object>(request: A): Given<A> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The entries that are left are those that are defined.
  Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined)) as Given<A>

const headersOf = ({ reason }: CrossTenantAccess, { payloads, personal }: Grant) =>
  ({
    "x-operator-reason": encodeURIComponent(reason),
    "x-operator-payloads": payloads,
    "x-operator-personal": personal ? "true" : "false"
  }) as const

const statusOf = (error: unknown): number | undefined =>
  typeof error === "object" && error !== null && "status" in error && typeof error.status === "number"
    ? error.status
    : undefined

const remedyOf = (error: unknown): string | undefined =>
  typeof error === "object" && error !== null && "detail" in error && typeof error.detail === "string"
    ? error.detail
    : undefined

/** The failure of a look: an answer that is a defect here is one there. */
const failure = (look: string, error: unknown): StorageUnavailable => {
  const operation = `look at ${look} over HTTP`
  if (HttpClientError.isHttpClientError(error) && error.response === undefined)
    return new StorageUnavailable({
      reason: new ConnectionFailed({ operation, code: null, retryable: true })
    })
  const status = HttpClientError.isHttpClientError(error) ? error.response?.status : statusOf(error)
  return new StorageUnavailable({
    reason: new OtherFailure({
      operation,
      code: status === undefined ? null : String(status),
      retryable: status === 503,
      remedy: remedyOf(error)
    })
  })
}

const make = ({ baseUrl, transformClient }: Options) =>
  Effect.map(HttpApiClient.make(Api, { baseUrl, transformClient }), ({ looks }) => {
    /** An answer, or `StorageUnavailable`; a request out of range is a defect. */
    const answered =
      (look: string) =>
      <A, E, R>(request: Effect.Effect<A, E, R>): Effect.Effect<A, StorageUnavailable, R> =>
        // oxlint-disable-next-line promise/valid-params -- it is no promise
        Effect.catch(request, (error) => {
          if (Schema.isSchemaError(error)) return Effect.die(new RangeError(error.message))
          const status = statusOf(error)
          return status === 400 || status === 500
            ? Effect.die(new RangeError(remedyOf(error) ?? `the service cannot answer (${status})`))
            : Effect.fail(failure(look, error))
        })

    const at = <A, E>(
      look: string,
      request: (at: {
        readonly params: { readonly tenantId: TenantId }
        readonly headers: ReturnType<typeof headersOf>
      }) => Effect.Effect<A, E>
    ): Effect.Effect<A, StorageUnavailable, Operator> =>
      Effect.gen(function* () {
        const tenantId = yield* currentTenant
        const access = yield* TenantAdministration
        const headers = headersOf(access, yield* PayloadGrant)
        return yield* request({ params: { tenantId }, headers })
      }).pipe(answered(look))

    const atAll = <A, E>(
      look: string,
      request: (at: { readonly headers: ReturnType<typeof headersOf> }) => Effect.Effect<A, E>
    ): Effect.Effect<A, StorageUnavailable, AllTenants> =>
      Effect.gen(function* () {
        const headers = headersOf(yield* AllTenants, yield* PayloadGrant)
        return yield* request({ headers })
      }).pipe(answered(look))

    return Operations.of({
      tenants: ({ after, ...rest } = {}) =>
        atAll("tenants", (head) =>
          looks.tenants({
            ...head,
            query: {
              ...given(rest),
              ...(after === undefined ? {} : { afterValue: after.value, afterTenant: after.tenantId })
            }
          })
        ),
      log: (request = {}) => at("a log", (head) => looks.log({ ...head, query: given(request) })),
      tail: (request = {}) =>
        Stream.unwrap(at("a live log", (head) => looks.tail({ ...head, query: given(request) }))).pipe(
          Stream.mapError((error) =>
            error instanceof StorageUnavailable ? error : failure("a live log", error)
          )
        ),
      stream: (request) => at("a stream", (head) => looks.stream({ ...head, query: given(request) })),
      state: (request) => at("a state", (head) => looks.state({ ...head, query: given(request) })),
      trace: (request) => at("causes", (head) => looks.trace({ ...head, query: given(request) })),
      decision: (request) =>
        at("a decision", (head) =>
          looks.decision({ ...head, payload: { ...given(request), items: request.items.map(given) } })
        ),
      projections: at("projections", (head) => looks.projections(head)),
      projectionsOfAll: atAll("projections", (head) => looks.projectionsOfAll(head)),
      deadLetters: at("dead letters", (head) => looks.deadLetters(head)),
      subjects: (request = {}) =>
        at("subjects", (head) => looks.subjects({ ...head, query: given(request) })),
      chain: Effect.map(
        at("a chain", (head) => looks.chain(head)),
        (chain) => chain ?? undefined
      ),
      move: Effect.map(
        at("a move", (head) => looks.move(head)),
        (move) => move ?? undefined
      ),
      accesses: (request = {}) =>
        atAll("accesses", (head) => looks.accesses({ ...head, query: given(request) }))
    })
  })

/** `Operations` of a service elsewhere. */
export const layer = (options: Options): Layer.Layer<Operations, never, HttpClient.HttpClient> =>
  Layer.effect(Operations, make(options))
