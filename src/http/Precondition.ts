/**
 * Versions over HTTP: `ETag` in responses, `If-Match` and `If-None-Match` in commands (RFC 9110), so that a client changes only
 * the version that it has seen.
 *
 * **Details**
 *
 * The entity tag of an aggregate consists of its version and the id of the event there, for example
 * `"7.0190c5a0-0000-7000-8000-00000000acee"`. Clients do not interpret it, and send it back unchanged. `If-Match` with that tag
 * expects version 7 with this event, `If-Match: *` expects that the stream exists, and `If-None-Match: *` that it does not. For any
 * other version or event, {@link check} fails with `Problem.PreconditionFailed` (status 412). An id that another tenant uses has
 * the same answer as an unused one.
 *
 * A tag with the version alone (`"7"`) is accepted too, for clients that know a version from a list or a message. It cannot detect
 * that the log was replaced (restored, or rewritten after a failover), so that another history has that version now.
 *
 * A weak tag (`W/"7"`) and a tag that is no version (`"abc"`) never match, as RFC 9110 demands: status 412. Status 400 answers
 * a list of several versions, because a command is decided on one version, tags without quotes, and `If-None-Match` with tags.
 *
 * **Gotchas**
 *
 * A proxy that compresses may make a strong tag weak, which then never matches: exempt these responses from compression.
 *
 * A version counts events. A new release may respond differently to the same version, so do not answer a GET with status 304
 * because of the tag.
 */
import { Effect, Schema, SchemaIssue, SchemaTransformation } from "effect"
import { Etag, HttpServerRequest } from "effect/http"
import { HttpApiSchema } from "effect/http-api"
import * as Event from "../domain/Event.ts"
import { Conflict, type ExpectedVersion, VersionConflict } from "../driver/StoreError.ts"
import { InvalidInput, PreconditionFailed } from "./Problem.ts"

/** A version for clients. The results of `Repository.load` and `Repository.execute` contain one. */
export interface Version {
  readonly version: number
  /** The id of the event with that version; undefined without events, or if it is unknown. */
  readonly eventId?: Event.EventId | undefined
}

const Version: Schema.Codec<Version> = Schema.toType(
  Schema.Struct({
    // A number instead of an integer, because `never` is NaN.
    // @effect-diagnostics-next-line schemaNumber:off
    version: Schema.Number,
    eventId: Schema.optional(Event.EventId)
  })
)

/** The entity tag of a version, including its quotes. For a number, the tag contains no event id. */
export const etag = (seen: Version | number): string => {
  const { eventId, version }: Version = typeof seen === "number" ? { version: seen } : seen
  const value = eventId === undefined ? String(version) : `${version}.${eventId}`
  return Etag.toString({ _tag: "Strong", value })
}

/** An expected version that no stream has. */
const never: Version = { version: Number.NaN }

/** An entity tag of RFC 9110 in a list, with the separator after it. */
const listed = /[ \t]*(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,|$)/y

const tagOfVersion = /^(0|[1-9]\d{0,15})(?:\.([0-9a-f-]{36}))?$/

/** The version in the text of a tag; undefined if it is no version. */
const versionOf = (text: string): Version | undefined => {
  const [, digits, id] = tagOfVersion.exec(text) ?? []
  const version = Number(digits)
  // A number that is not exact would stand for another version.
  if (digits === undefined || !Number.isSafeInteger(version)) return undefined
  if (id === undefined) return { version }
  return version > 0 && isEventId(id) ? { version, eventId: id } : undefined
}

const isEventId = Schema.is(Event.EventId)

/** The versions in the strong tags of a list, by tag; undefined if it is not a list of tags. */
const versionsOf = (text: string): ReadonlyMap<string, Version> | undefined => {
  const versions = new Map<string, Version>()
  listed.lastIndex = 0
  while (listed.lastIndex < text.length) {
    const tag = listed.exec(text)
    if (tag === null) return undefined
    const [, weak, value = ""] = tag
    const version = weak === undefined ? versionOf(value) : undefined
    if (version !== undefined) versions.set(value, version)
  }
  return text.trimEnd().endsWith('"') ? versions : undefined
}

/** The expectation of `If-Match`. */
type Matching = Version | "streamExists"

/** The version that `If-Match` expects, or the reason why the header is invalid. */
const matching = (text: string): { readonly expected: Matching } | { readonly problem: string } => {
  if (text.trim() === "*") return { expected: "streamExists" }
  const versions = versionsOf(text)
  if (versions === undefined) return { problem: 'if-match is not an entity tag, such as "7" with its quotes' }
  if (versions.size > 1)
    return { problem: "if-match contains several versions: send only the one that was seen" }
  const [version = never] = versions.values()
  return { expected: version }
}

/** The header `If-Match`: a version, or `streamExists` for `*`. A version of `NaN` never matches. */
export const IfMatch: Schema.Codec<Matching, string> = Schema.String.pipe(
  Schema.decodeTo(
    Schema.Union([Schema.Literal("streamExists"), Version]),
    SchemaTransformation.transformEffect<Matching, string>({
      decode: (text, options) => {
        const found = matching(text)
        return "problem" in found
          ? Effect.fail(new SchemaIssue.InvalidValue({ message: found.problem }, text, options))
          : Effect.succeed(found.expected)
      },
      encode: (expected) => Effect.succeed(expected === "streamExists" ? "*" : etag(expected))
    })
  )
)

/** The header `If-None-Match`: `noStream` for `*`. */
export const IfNoneMatch: Schema.Codec<"noStream", string> = Schema.String.pipe(
  Schema.decodeTo(
    Schema.Literal("noStream"),
    SchemaTransformation.transformEffect<"noStream", string>({
      decode: (text, options) =>
        text.trim() === "*"
          ? Effect.succeed("noStream")
          : Effect.fail(
              new SchemaIssue.InvalidValue(
                { message: "if-none-match of a command can only be *" },
                text,
                options
              )
            ),
      encode: () => Effect.succeed("*")
    })
  )
)

/** The `headers` of an endpoint whose command may state a version. */
export const headers: {
  readonly "if-match": Schema.optionalKey<typeof IfMatch>
  readonly "if-none-match": Schema.optionalKey<typeof IfNoneMatch>
} = {
  "if-match": Schema.optionalKey(IfMatch),
  "if-none-match": Schema.optionalKey(IfNoneMatch)
}

/** The decoded {@link headers} of a request. */
export interface Headers {
  readonly "if-match"?: Matching
  readonly "if-none-match"?: "noStream"
}

const decodeHeaders = HttpServerRequest.schemaHeaders(Schema.Struct(headers))

/** The headers of the running request, for a router without `HttpApi`. Fails with status 400 if they are invalid. */
export const fromRequest: Effect.Effect<Headers, InvalidInput, HttpServerRequest.HttpServerRequest> =
  Effect.mapError(
    decodeHeaders,
    () =>
      new InvalidInput({
        detail: 'if-match must be * or the entity tag of one version, such as "7"; if-none-match must be *'
      })
  )

/** Expectations on a stream, for `Repository.execute` and `EventStore.append`. */
export interface Expected {
  readonly expectedVersion: ExpectedVersion
  readonly expectedEventId?: Event.EventId | undefined
}

/** The version that a request expects; `any` if it has neither header. */
export const expected = ({ "if-match": some, "if-none-match": none }: Headers): Expected => {
  // The two headers contradict each other, because a stream that does not exist has no version.
  if (some !== undefined && none !== undefined) return { expectedVersion: never.version }
  if (some === undefined || some === "streamExists") return { expectedVersion: some ?? none ?? "any" }
  const { eventId, version } = some
  return eventId === undefined
    ? { expectedVersion: version }
    : { expectedVersion: version, expectedEventId: eventId }
}

const isVersionConflict = (error: unknown): error is Conflict<VersionConflict> =>
  error instanceof Conflict && error.reason instanceof VersionConflict

/**
 * Runs a command on the version that the request expects, and fails with `PreconditionFailed` if the stream has another one.
 *
 * **Example** (A command that honours If-Match)
 *
 * ```ts
 * handlers.handle("ship", ({ headers, params, payload }) =>
 *   Precondition.check(headers, (expected) =>
 *     repository.execute(Order, params.orderId, ship(payload.parcel), expected)
 *   ).pipe(
 *     Effect.map((shipped) => Precondition.tagged(shipped, { version: shipped.version })),
 *     Problem.mapErrors
 *   )
 * )
 * ```
 */
export const check = <A, E, R>(
  request: Headers,
  run: (expected: Expected) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | PreconditionFailed, R> => {
  const stated = expected(request)
  if (stated.expectedVersion === "any") return run(stated)
  return run(stated).pipe(
    Effect.catch((error): Effect.Effect<never, E | PreconditionFailed> =>
      // A conflict with another expected version is not about the header of the request.
      isVersionConflict(error) && Object.is(error.reason.expected, stated.expectedVersion)
        ? Effect.fail(new PreconditionFailed({ version: error.reason.actual }))
        : Effect.fail(error)
    )
  )
}

/** The header `ETag`. Clients also accept a tag that a proxy has made weak. */
export const ETag: Schema.Codec<Version, string> = Schema.String.pipe(
  Schema.decodeTo(
    Version,
    SchemaTransformation.transformEffect<Version, string>({
      decode: (text, options) => {
        const version = versionOf(/^(?:W\/)?"([^"]*)"$/.exec(text)?.[1] ?? "")
        return version === undefined
          ? Effect.fail(
              new SchemaIssue.InvalidValue({ message: "not the entity tag of a version" }, text, options)
            )
          : Effect.succeed(version)
      },
      encode: (version) => Effect.succeed(etag(version))
    })
  )
)

/** The `success` of an endpoint whose response carries the version as `ETag`. */
export const Tagged = <S extends Schema.Top>(
  body: S
): HttpApiSchema.WithHeaders<S, Schema.Struct<{ readonly etag: typeof ETag }>> =>
  HttpApiSchema.WithHeaders(body, { etag: ETag })

/**
 * A response with its version as `ETag`, for an endpoint with {@link Tagged}. Pass a loaded aggregate or the outcome of a command,
 * or `{ version }` for a read model without event ids.
 */
export const tagged = <A>(
  { eventId, version }: Version,
  body: A
): HttpApiSchema.withHeaders<A, { readonly etag: Version }> =>
  HttpApiSchema.withHeaders({ body, headers: { etag: { version, eventId } } })
