/**
 * The tenant: its id, the requirement for it, and the capability to look across tenants.
 *
 * `CurrentTenant` stands in the requirements of every operation that touches a tenant's data, so a program that
 * forgets the tenant does not compile. No layer of this library requires it to be built: a layer is memoised, and a
 * service that reads the tenant while it is built would serve that tenant to the next one.
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
 * Decoding folds upper-case letters and refuses everything else: blanks, braces, wildcards, and the nil UUID, which is
 * reserved for {@link untenanted}. `TenantId.make` takes the canonical form alone and throws on any other text.
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

/** A tenant's id. A plain string is not one: decode it with the schema of the same name. */
export type TenantId = typeof TenantId.Type

/**
 * The tenant id of a name in a namespace (UUID version 5): the same for the same name, wherever it is made.
 *
 * **When to use**
 *
 * Use it where tenants have names of their own that never change: slugs, customer numbers, ids of another system.
 *
 * **Gotchas**
 *
 * Who knows the namespace and the name knows the id: an id is no secret, and does not say that the tenant exists. Names are
 * told apart as they are, also by case and blanks: bring them to one form first. Throws if the namespace is no UUID, and on
 * a name that is not well-formed text.
 *
 * **Example**
 *
 * ```ts
 * const namespace = "0b7d1c7e-3c0e-4f4b-9d0a-6f3f4c1d2a5e" // made up once, for this program
 * const acme = Tenant.fromName(namespace, "acme")
 * ```
 */
export const fromName = (namespace: string, name: string): TenantId => TenantId.make(uuidV5(namespace, name))

/** A new tenant id (UUID version 7). */
export const generate: Effect.Effect<TenantId> = Effect.sync(() => TenantId.make(uuidV7Unsafe()))

/**
 * The reserved tenant of an application without tenants (the nil UUID).
 *
 * **Gotchas**
 *
 * Its events are visible to it alone, never to "every tenant". No outside input decodes to it.
 */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The schema refuses the nil UUID on purpose; this constant is its only source.
export const untenanted: TenantId = nilUuid as TenantId

/**
 * The tenant in whose name an effect runs. Required by every operation on a tenant's data; there is no default.
 *
 * **When to use**
 *
 * Provide it where the tenant is known from a verified source: once per request, message or job, with {@link provide}.
 */
export class CurrentTenant extends Context.Service<CurrentTenant, TenantId>()(
  "effect-eventsourcing/CurrentTenant"
) {}

/** An effect or a stream that no longer needs a tenant. */
// In brackets, so that a union of effects is one effect.
export type Provided<Self> = [Self] extends [Stream.Stream<infer A, infer E, infer R>]
  ? Stream.Stream<A, E, Exclude<R, CurrentTenant>>
  : [Self] extends [Effect.Effect<infer A, infer E, infer R>]
    ? Effect.Effect<A, E, Exclude<R, CurrentTenant>>
    : never

/** Runs an effect or a stream in the name of a tenant. */
export const provide =
  (tenantId: TenantId) =>
  <Self extends Effect.Effect<unknown, unknown, unknown> | Stream.Stream<unknown, unknown, unknown>>(
    self: Self
  ): Provided<Self> => {
    const given: Effect.Effect<unknown, unknown, unknown> | Stream.Stream<unknown, unknown, unknown> = self
    const provided = Stream.isStream(given)
      ? Stream.provideService(given, CurrentTenant, tenantId)
      : Effect.provideService(given, CurrentTenant, tenantId)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- A conditional type cannot be followed here: a stream gives a stream, an effect an effect.
    return provided as Provided<Self>
  }

/** Actor and reason of an access across tenants. Both are written to the audit trail with every use. */
export interface CrossTenantAccess {
  /** The person or program that asks, at most 255 characters. */
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
 * The capability to look across tenants. Operations that do so have it in their requirements, so it shows in the type, and
 * every use is written to the audit trail.
 */
export class AllTenants extends Context.Service<AllTenants, CrossTenantAccess>()(
  "effect-eventsourcing/AllTenants"
) {}

const isAccess = Schema.is(CrossTenantAccess)

/**
 * Lets an effect look across tenants, in the name of an actor and for a stated reason.
 *
 * **Gotchas**
 *
 * An actor or reason that is empty, too long, surrounded by blanks, or contains characters that cannot be stored is a
 * defect: it is a mistake in the program, not in its input.
 */
export const provideAll =
  (access: CrossTenantAccess) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, AllTenants>> =>
    isAccess(access)
      ? Effect.provideService(effect, AllTenants, access)
      : Effect.die(
          new TypeError("AllTenants needs an actor (1-255 characters) and a reason (1-1,000 characters)")
        )

/** The compiler's message about a layer with a tenant in its type. The error shows it in place of the layer. */
export interface TenantInLayer<Message extends string> {
  readonly tenantInLayer: Message
}

/** Members of a service that are a tenant's id. */
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
export type WithoutTenant<Provides, Needs> = [Extract<Needs, CurrentTenant | AllTenants>] extends [never]
  ? [Extract<Provides, CurrentTenant | AllTenants>] extends [never]
    ? [ServicesWithTenant<Provides>] extends [never]
      ? unknown
      : TenantInLayer<`A layer is built once and serves every tenant, and this one keeps a tenant in ${ServicesWithTenant<Provides>}: let the methods ask for CurrentTenant.`>
    : TenantInLayer<"A layer is built once and serves every tenant, and this one provides a tenant: provide it to each request, with Tenant.provide.">
  : TenantInLayer<"A layer is built once and serves every tenant, and this one needs a tenant to be built: let the methods of the service ask for CurrentTenant.">

/**
 * Returns a layer unchanged, and does not compile if a tenant is in its type: if it needs `CurrentTenant` or `AllTenants`
 * to be built, if it provides one of them, or if a service that it provides is a tenant's id or has one as a member.
 *
 * **When to use**
 *
 * Put it on your own layers. A layer is built once and memoised, also across the keys of a `LayerMap`: a layer that reads
 * the tenant while it is built serves that tenant to all others.
 *
 * **Gotchas**
 *
 * Types do not see into closures: they miss a cache without the tenant in its keys, and a tenant that was turned into a
 * plain string. `docs/tenants-and-layers.md` says how to find those.
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
