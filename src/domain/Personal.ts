/**
 * Personal data in events: fields that are about a person, who may have to be forgotten although events are never changed.
 *
 * **Details**
 *
 * A mark says that a field is personal, and whose it is. Marked fields are stored sealed, under a key of their subject, and
 * forgetting the subject destroys that key (`Forgetting`). So the value of a marked field is the data or {@link Forgotten}, and
 * every fold, handler and upcaster takes both.
 *
 * Only payloads can be sealed. Tags, actors, metadata and ids of aggregates are stored as they are: put ids into them that mean
 * nothing outside of the system, and no names or addresses.
 *
 * **Example**
 *
 * ```ts
 * const CustomerRegistered = Schema.TaggedStruct("CustomerRegistered", {
 *   customerId: Schema.String,
 *   name: Personal.make(Schema.String, "customerId"),
 *   guests: Schema.Array(Schema.Struct({ guestId: Schema.String, name: Personal.make(Schema.String, "guestId") }))
 * })
 * const EmailChanged = Schema.TaggedStruct("EmailChanged", { email: Personal.make(Schema.String, Personal.aggregateId) })
 * ```
 */
import { Schema, SchemaTransformation } from "effect"

/** Stands for personal data of a subject that was forgotten. */
export interface Forgotten {
  readonly _tag: "Forgotten"
}

/** The encoded form of {@link Forgotten}. */
export interface ForgottenJson {
  readonly $forgotten: true
}

/** Schema of {@link Forgotten}. */
export const Forgotten: Schema.Codec<Forgotten, ForgottenJson> = Schema.Struct({
  $forgotten: Schema.Literal(true)
}).pipe(
  Schema.decodeTo(
    // Not a `TaggedStruct`, whose default for `_tag` would make every object of a constructor forgotten.
    Schema.Struct({ _tag: Schema.Literal("Forgotten") }),
    SchemaTransformation.transform({
      decode: (): Forgotten => forgotten,
      encode: (): ForgottenJson => ({ $forgotten: true })
    })
  )
)

/** The value that stands for forgotten data. Others are equal to it, but need not be the same object: see {@link isForgotten}. */
export const forgotten: Forgotten = Object.freeze({ _tag: "Forgotten" })

/** True for {@link Forgotten}. */
export const isForgotten = (value: unknown): value is Forgotten =>
  value === forgotten ||
  (typeof value === "object" && value !== null && "_tag" in value && value._tag === "Forgotten")

/** Personal data, or the default if it is forgotten. */
export const getOrElse = <A, B>(value: A | Forgotten, orElse: () => B): A | B =>
  isForgotten(value) ? orElse() : value

/** Changes personal data, and leaves {@link Forgotten} as it is: for upcasters, and for states that keep personal data. */
export const map = <A, B>(value: A | Forgotten, change: (value: A) => B): B | Forgotten =>
  isForgotten(value) ? value : change(value)

/** As the subject of a field: the id of the event's aggregate. */
export const aggregateId: unique symbol = Symbol.for("effect-eventsourcing/Personal/aggregateId")

/**
 * The person that a field is about: the name of the field that holds the person's id, or the id of the event's aggregate.
 *
 * **Details**
 *
 * The name is that of the stored form. It is looked up beside the personal field, then in the object around it, and so on. The id
 * is a text of 1 to 255 characters or a number, is not personal itself, and stays readable for ever: choose one that means
 * nothing outside of the system, such as a UUID.
 */
export type Subject = string | typeof aggregateId

/**
 * A mark of a schema. Each has an identity of its own, so that a lost one is noticed.
 *
 * @internal
 */
export interface Mark {
  readonly subject: Subject
}

/**
 * The annotation of a marked schema. Transformations keep it in the encoded form.
 *
 * @internal
 */
export const annotation = "~effect-eventsourcing/personal"

/** A schema whose values may be forgotten. */
export interface OrForgotten<S extends Schema.Constraint> extends Schema.Union<
  readonly [typeof Forgotten, S]
> {}

/**
 * Marks a field of events as personal data of a subject. Its value is that of the schema, or {@link Forgotten}.
 *
 * **Details**
 *
 * Any part of an event can be marked, in nested objects, arrays, records and unions too, but not the event itself, and nothing
 * inside a marked part. An event may have personal data of several subjects. The marked part is sealed as a whole.
 *
 * **Gotchas**
 *
 * Mark the stored form. If a schema transforms an event, its mark must be on the side that is encoded; use {@link orForgotten}
 * for the other side. An aggregate refuses an event that would lose a mark, and a mark whose subject is no field.
 *
 * Events that were stored before a field was marked stay as they are.
 */
export const make = <S extends Schema.Constraint>(schema: S, subject: Subject): OrForgotten<S> =>
  orForgotten(schema).annotate({ [annotation]: { subject } satisfies Mark })

/**
 * The values of a schema, or {@link Forgotten}, without a mark: for states, read models, replies and other things that are made
 * from personal fields.
 */
export const orForgotten = <S extends Schema.Constraint>(schema: S): OrForgotten<S> =>
  Schema.Union([Forgotten, schema])
