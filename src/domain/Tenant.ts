/**
 * The tenant: its id, the requirement for it, and the permission to look across tenants.
 *
 * Every operation that touches a tenant's data requires `CurrentTenant`, so a program that forgets the tenant does not
 * compile. No layer of this library requires it to be built: a layer is built once, and a service that read the tenant while
 * it was built would serve that tenant's data to all others.
 */
import { Context, Effect, type Layer, Schema, SchemaTransformation, Stream } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { textProblem } from "../internal/json.ts"
import { CanonicalUuid, uuidV5 } from "../internal/uuid.ts"

const nilUuid = "00000000-0000-0000-0000-000000000000"

/**
 * A tenant's id: a UUID in its one canonical form (lower case, hyphenated).
 *
 * **Details**
 *
 * Decoding turns upper-case letters into lower-case ones and refuses any other text, also one with blanks, braces or wildcards,
 * and the nil UUID, which is reserved for {@link untenanted}. `TenantId.make` accepts only the canonical form and throws on any
 * other text.
 */
export const TenantId = Schema.String.pipe(
  Schema.decodeTo(
    CanonicalUuid.check(
      Schema.makeFilter((text: string) => text !== nilUuid, {
        expected: "a tenant other than the reserved nil UUID"
      })
    ).pipe(Schema.brand("TenantId")),
    SchemaTransformation.toLowerCase()
  )
)

/** A tenant's id. Decode a plain string with the schema of the same name. */
export type TenantId = typeof TenantId.Type

/**
 * Derives a tenant id (UUID version 5) from a name in a namespace. The same name gives the same id in every program.
 *
 * **When to use**
 *
 * Use it where tenants have names that never change: slugs, customer numbers, ids of another system.
 *
 * **Gotchas**
 *
 * An id is no secret: everybody who knows the namespace and the name can derive it. It does not prove that the tenant exists.
 * Names that differ only in case or blanks have different ids, so normalise them first. Throws if the namespace is not a UUID,
 * and if the name is not well-formed text.
 *
 * **Example**
 *
 * ```ts
 * const namespace = "0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e" // generated once for this program
 * const acme = Tenant.fromName(namespace, "acme")
 * ```
 */
export const fromName = (namespace: string, name: string): TenantId => TenantId.make(uuidV5(namespace, name))

/** Generates a tenant id (UUID version 7). */
export const generate: Effect.Effect<TenantId> = Effect.sync(() => TenantId.make(uuidV7Unsafe()))

/**
 * The reserved tenant of an application without tenants (the nil UUID).
 *
 * **Gotchas**
 *
 * Only effects of this tenant see its events; operations across all tenants leave it out. No outside input decodes to it.
 */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The schema refuses the nil UUID on purpose; this constant is its only source.
export const untenanted: TenantId = nilUuid as TenantId

/**
 * The tenant for which an effect runs. Every operation on a tenant's data requires it, and there is no default.
 *
 * **When to use**
 *
 * Provide it with {@link provide} where a verified source names the tenant: once per request, message or job.
 */
export class CurrentTenant extends Context.Service<CurrentTenant, TenantId>()(
  "effect-eventsourcing/CurrentTenant"
) {}

/** An effect or a stream that no longer needs a tenant. */
// In brackets, so that a union of effects is treated as one effect.
export type Provided<Self> = [Self] extends [Stream.Stream<infer A, infer E, infer R>]
  ? Stream.Stream<A, E, Exclude<R, CurrentTenant>>
  : [Self] extends [Effect.Effect<infer A, infer E, infer R>]
    ? Effect.Effect<A, E, Exclude<R, CurrentTenant>>
    : never

/** Runs an effect or a stream for a tenant. */
export const provide =
  (tenantId: TenantId) =>
  <Self extends Effect.Effect<unknown, unknown, unknown> | Stream.Stream<unknown, unknown, unknown>>(
    self: Self
  ): Provided<Self> => {
    const given: Effect.Effect<unknown, unknown, unknown> | Stream.Stream<unknown, unknown, unknown> = self
    const provided = Stream.isStream(given)
      ? Stream.provideService(given, CurrentTenant, tenantId)
      : Effect.provideService(given, CurrentTenant, tenantId)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The compiler cannot follow the conditional type: a stream becomes a stream, and an effect an effect.
    return provided as Provided<Self>
  }

/** Actor and reason of an access across tenants, or of an administrative one. Every access writes both to the audit trail. */
export interface CrossTenantAccess {
  /** The person or program that looks across tenants or administers them, at most 255 characters. */
  readonly actor: string
  /** The reason for the access, at most 1,000 characters. */
  readonly reason: string
}

const storable = Schema.makeFilter((text: string) => textProblem(text) === undefined)

const CrossTenantAccess: Schema.Codec<CrossTenantAccess> = Schema.Struct({
  actor: Schema.NonEmptyString.check(Schema.isMaxLength(255), Schema.isTrimmed(), storable),
  reason: Schema.NonEmptyString.check(Schema.isMaxLength(1000), Schema.isTrimmed(), storable)
})

/**
 * The permission to look across tenants. Operations that do so require it, so it shows in their types, and every use is written
 * to the audit trail.
 */
export class AllTenants extends Context.Service<AllTenants, CrossTenantAccess>()(
  "effect-eventsourcing/AllTenants"
) {}

const isAccess = Schema.is(CrossTenantAccess)

/**
 * Lets an effect look across tenants, for an actor and with a reason.
 *
 * **Gotchas**
 *
 * An actor or reason is a defect if it is empty or too long, begins or ends with blanks, or contains characters that cannot be
 * stored: it is a mistake in the program, not in its input.
 */
export const provideAll =
  (access: CrossTenantAccess) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, AllTenants>> =>
    isAccess(access)
      ? Effect.provideService(effect, AllTenants, access)
      : Effect.die(
          new TypeError("AllTenants needs an actor (1-255 characters) and a reason (1-1,000 characters)")
        )

/**
 * The permission to administer tenants: to export, import, move, hold and erase them. Operations that do so require it,
 * so it shows in their types, and every use is written to the audit trail. Neither `CurrentTenant` nor `AllTenants` includes it.
 */
export class TenantAdministration extends Context.Service<TenantAdministration, CrossTenantAccess>()(
  "effect-eventsourcing/TenantAdministration"
) {}

/**
 * Lets an effect administer tenants, for an actor and with a reason.
 *
 * **Gotchas**
 *
 * An actor or reason is a defect if it is empty or too long, begins or ends with blanks, or contains characters that cannot be
 * stored: it is a mistake in the program, not in its input.
 */
export const provideAdministration =
  (access: CrossTenantAccess) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, TenantAdministration>> =>
    isAccess(access)
      ? Effect.provideService(effect, TenantAdministration, access)
      : Effect.die(
          new TypeError(
            "TenantAdministration needs an actor (1-255 characters) and a reason (1-1,000 characters)"
          )
        )

/** The type of a layer with a tenant in its type. The compiler shows its message where the layer is written. */
export interface TenantInLayer<Message extends string> {
  readonly tenantInLayer: Message
}

/** Members of a service whose type is a tenant's id. */
type MembersWithTenant<Shape> = {
  [Name in keyof Shape]-?: 0 extends 1 & Shape[Name]
    ? never
    : [Exclude<Shape[Name], undefined | null>] extends [never]
      ? never
      : [Exclude<Shape[Name], undefined | null>] extends [TenantId]
        ? Name
        : never
}[keyof Shape] &
  string

/** Names of services that are a tenant's id or have one as a member, with that member. */
type ServicesWithTenant<Services> = Services extends {
  readonly key: infer Key extends string
  readonly Service: infer Shape
}
  ? 0 extends 1 & Shape
    ? never
    : [Shape] extends [TenantId]
      ? Key
      : [MembersWithTenant<Shape>] extends [never]
        ? never
        : `${Key}.${MembersWithTenant<Shape>}`
  : never

/**
 * `unknown` for a layer without a tenant in `Provides` and `Needs`; otherwise a readable error.
 */
export type WithoutTenant<Provides, Needs> = [
  Extract<Needs, CurrentTenant | AllTenants | TenantAdministration>
] extends [never]
  ? [Extract<Provides, CurrentTenant | AllTenants | TenantAdministration>] extends [never]
    ? [ServicesWithTenant<Provides>] extends [never]
      ? unknown
      : TenantInLayer<`A layer is built once and serves every tenant, and this one keeps a tenant in ${ServicesWithTenant<Provides>}: let the methods ask for CurrentTenant.`>
    : TenantInLayer<"A layer is built once and serves every tenant, and this one provides a tenant: provide it to each request, with Tenant.provide.">
  : TenantInLayer<"A layer is built once and serves every tenant, and this one needs a tenant to be built: let the methods of the service ask for CurrentTenant.">

/**
 * Returns a layer unchanged. Does not compile if the layer has a tenant in its type: if it needs `CurrentTenant`, `AllTenants`
 * or `TenantAdministration` to be built, provides one of them, or provides a service that is a tenant's id or has one as a member.
 *
 * **When to use**
 *
 * Use it on your own layers. A layer is built once and shared, also between the keys of a `LayerMap`. A layer that reads the
 * tenant while it is built serves that tenant's data to all others.
 *
 * **Gotchas**
 *
 * Types do not show the contents of closures, such as a cache without the tenant in its keys, or a tenant that was turned into
 * a plain string. `docs/tenants-and-layers.md` explains how to find those.
 *
 * **Example**
 *
 * ```ts
 * export const layer = Tenant.withoutTenant(Layer.effect(Invoices, make))
 * ```
 */
export const withoutTenant = <Provides, E, Needs>(
  layer: Layer.Layer<Provides, E, Needs> & WithoutTenant<Provides, Needs>
): Layer.Layer<Provides, E, Needs> => layer
