/**
 * The right of an operator to see payloads: none, masked or full, and apart from it the right to see personal data.
 */
import { Context, Effect, Schema } from "effect"

/** The forms in which payloads, metadata and states are shown. */
export const Payloads: Schema.Codec<Payloads> = Schema.Literals(["none", "masked", "full"]).annotate({
  description: "none: left out. masked: structure and lengths without any value. full: as they are.",
  examples: ["masked"]
})

/** The forms in which payloads, metadata and states are shown. */
export type Payloads = "none" | "masked" | "full"

/** The right to see payloads. */
export interface Grant {
  readonly payloads: Payloads
  /** True to open personal fields (`Personal.make`), which are shown as sealed otherwise. Needs `payloads: "full"`. */
  readonly personal: boolean
}

/**
 * The grant of the running effect. Default: masked payloads, and no personal data.
 *
 * **Details**
 *
 * Every look at a tenant writes its grant to the audit trail.
 */
export const PayloadGrant: Context.Reference<Grant> = Context.Reference<Grant>(
  "effect-eventsourcing/PayloadGrant",
  { defaultValue: () => ({ payloads: "masked", personal: false }) }
)

/** Runs an effect with a grant. Provide it where the operator's role is known, and never for all operators. */
export const provide =
  (payloads: Payloads, options: { readonly personal?: boolean | undefined } = {}) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, PayloadGrant, {
      payloads,
      personal: payloads === "full" && options.personal === true
    })

/** A name of a member that looks like one of a schema, and not like data. */
const isName = (key: string): boolean => /^[$_a-zA-Z][\w$-]{0,39}$/.test(key) && !/\d{3}/.test(key)

/** Masks the name of a member: `key(n)` with its length, unless it looks like a name of a schema. */
export const maskKey = (key: string): string => (isName(key) ? key : `key(${key.length})`)

/**
 * The structure of a JSON value without its values: texts become `string(n)` with their length, numbers `number`, booleans `boolean`
 * and null `null`. Arrays keep their length, and objects the names of their members.
 *
 * **Gotchas**
 *
 * The names of members count as structure. Those that do not look like names of a schema are masked too, with their lengths: with
 * blanks, dots or three digits in a row, or more than 40 characters. A record whose keys are short plain words shows them.
 */
export const mask = (json: Schema.Json): Schema.Json => {
  if (json === null) return "null"
  if (typeof json === "string") return `string(${json.length})`
  if (typeof json === "number" || typeof json === "boolean") return typeof json
  if (isArray(json)) return json.map(mask)
  const masked: Array<readonly [string, Schema.Json]> = []
  const used = new Set<string>()
  for (const [key, member] of Object.entries(json)) {
    const name = maskKey(key)
    let unused = name
    for (let nth = 2; used.has(unused); nth++) unused = `${name} ${nth}`
    used.add(unused)
    masked.push([unused, mask(member)])
  }
  return Object.fromEntries(masked)
}

const isArray = (json: Schema.Json): json is ReadonlyArray<Schema.Json> => Array.isArray(json)

/** A JSON value under a grant; null if it is left out. */
export const shown = ({ payloads }: Grant, json: Schema.Json): Schema.Json =>
  payloads === "full" ? json : payloads === "masked" ? mask(json) : null
