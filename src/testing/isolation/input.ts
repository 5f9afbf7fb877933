/**
 * Cases about input: tenant ids, texts that are code elsewhere, and values that cannot be stored. Each is refused with a
 * typed error before anything is written, or read back exactly.
 */
import { assert } from "@effect/vitest"
import { Effect, Exit, Schema, Stream } from "effect"
import * as Aggregate from "../../domain/Aggregate.ts"
import * as Event from "../../domain/Event.ts"
import * as EventContext from "../../domain/EventContext.ts"
import { EventStorage } from "../../driver/EventStorage.ts"
import * as EventStore from "../../store/EventStore.ts"
import * as Tenant from "../../domain/Tenant.ts"
import { TenantRegistry } from "../../store/TenantRegistry.ts"
import {
  acrossTenants,
  append,
  as,
  type Case,
  everythingIn,
  failsWith,
  log,
  Note,
  noted,
  observe,
  read,
  test,
  texts,
  withNeighbour,
  write
} from "./kit.ts"

const uuid = "0190c5a0-7c1e-7abc-8def-0123456789ab"

/** Invalid tenant ids in many forms. */
const notTenants: ReadonlyArray<unknown> = [
  null,
  undefined,
  0,
  {},
  [uuid],
  "",
  " ",
  "*",
  "%",
  "_",
  "'",
  `' or '1'='1`,
  "null",
  "default",
  "00000000-0000-0000-0000-000000000000",
  `{${uuid}}`,
  `urn:uuid:${uuid}`,
  uuid.replaceAll("-", ""),
  ` ${uuid}`,
  `${uuid}\n`,
  `${uuid}\0`,
  `${uuid}\u200B`,
  `\uFEFF${uuid}`,
  uuid.replace("0", "\uFF10"),
  uuid.replace("a", "\u0430"),
  `${uuid},${uuid}`,
  uuid.slice(0, -1),
  `${uuid}0`
]

/** Texts with a meaning in SQL, arrays, JSON, patterns, format strings or the client. */
export const hostile: ReadonlyArray<string> = [
  "'; create table pwned (); --",
  `"; create table pwned (); --`,
  "$$; create table pwned (); $$",
  "$1",
  "?",
  ":name",
  "\\'; create table pwned (); --",
  "\u02BC; create table pwned (); --",
  "%",
  "_",
  "%s %I %L",
  "NULL",
  "null",
  "{}",
  `{"a","b"}`,
  "a,b",
  `"quoted"`,
  "back\\slash",
  "line\nbreak\ttab\r",
  "eventsourcing.events",
  "__proto__",
  "constructor",
  "\u{1F512}\u0301\u200D\uFFFD",
  "-- comment /* */",
  "a/../../b"
]

const someText = Schema.Struct({ text: Schema.String })

const cursed = hostile.map((name) =>
  Aggregate.make(
    name,
    {
      id: Schema.String,
      state: someText,
      initial: { text: "" },
      events: [Schema.TaggedStruct(name, { text: Schema.String })]
    },
    (_state, { text }) => ({ text })
  )
)

/** Checks that nothing was written, and that the next append works. */
const untouched = <A, E, R>(attempt: (tenant: Tenant.TenantId) => Effect.Effect<A, E, R>) =>
  withNeighbour(
    Effect.fnUntraced(function* (mine) {
      const before = yield* observe.pipe(as(mine))
      yield* attempt(mine)
      assert.deepStrictEqual(yield* observe.pipe(as(mine)), before)
      yield* write("still works").pipe(as(mine))
    })
  )

const nested = (depth: number): Schema.Json => {
  let json: Schema.Json = null
  for (let level = 0; level < depth; level++) json = [json]
  return json
}

/** The cases. */
export const input: ReadonlyArray<Case> = [
  test("4: a tenant id has one form; everything else is refused", () =>
    Effect.gen(function* () {
      const decode = Schema.decodeUnknownEffect(Tenant.TenantId)
      for (const text of [uuid, uuid.toUpperCase()]) assert.strictEqual(yield* decode(text), uuid)
      for (const text of notTenants) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(decode(text))), everythingIn(text))
      }
    })),

  test("4: an invalid tenant id is refused even if the types are cast away", () =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const registry = yield* TenantRegistry
      const known = Stream.runCollect(store.tenants).pipe(acrossTenants)
      const before = yield* known
      for (const forged of [...notTenants, uuid.toUpperCase()]) {
        if (forged === "00000000-0000-0000-0000-000000000000") continue
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as a careless program would
        const tenant = forged as Tenant.TenantId
        const attempts: ReadonlyArray<Effect.Effect<unknown, unknown, EventStore.EventStore>> = [
          write("forged").pipe(as(tenant)),
          read().pipe(as(tenant)),
          log().pipe(as(tenant)),
          store.position.pipe(as(tenant)),
          registry.status.pipe(as(tenant)),
          registry.provision(tenant),
          registry.suspend(tenant).pipe(acrossTenants)
        ]
        for (const attempt of attempts) {
          assert.isTrue(Exit.isFailure(yield* Effect.exit(attempt)), everythingIn(forged))
        }
      }
      assert.deepStrictEqual(yield* known, before)
    })),

  test("22: texts that are code elsewhere are data in every place", () =>
    withNeighbour(
      Effect.fnUntraced(function* (mine, theirs) {
        const store = yield* EventStore.EventStore
        const before = yield* observe.pipe(as(theirs))
        for (const [index, aggregate] of cursed.entries()) {
          const name = aggregate.type
          const metadata = name === "__proto__" ? {} : { [name]: name, _tag: "Literal", value: name }
          const stream = { aggregate, id: name }
          const event = Event.make({ _tag: name, text: name }, { actor: name, metadata })
          yield* store
            .append({ ...stream, expectedVersion: 0, events: [event] })
            .pipe(EventContext.provide({ correlationId: name, causationId: name }), as(mine))
          const [stored, ...others] = yield* Stream.runCollect(store.readStream(stream)).pipe(as(mine))
          assert.deepStrictEqual(others, [])
          assert.deepInclude(stored, {
            aggregateType: name,
            aggregateId: name,
            eventType: name,
            actor: name,
            correlationId: name,
            causationId: name,
            metadata,
            payload: { _tag: name, text: name }
          })
          const [found, ...more] = yield* log({ eventTypes: [name] }).pipe(as(mine))
          assert.deepStrictEqual([found?.aggregateId, more], [name, []])
          assert.lengthOf(
            yield* Stream.runCollect(
              store.readLogJson({ aggregateTypes: cursed.slice(0, index + 1).map(({ type }) => type) })
            ).pipe(as(mine)),
            index + 1
          )
        }
        assert.deepStrictEqual(yield* observe.pipe(as(theirs)), before)
      })
    )),

  test("22: a text that looks like a fragment of SQL to the client is data", () =>
    Effect.gen(function* () {
      const tenant = yield* Tenant.generate
      for (const _tag of [
        "Literal",
        "Identifier",
        "Parameter",
        "ArrayHelper",
        "RecordInsertHelper",
        "Custom"
      ]) {
        const json = { _tag, value: "pg_sleep(100)", params: [], kind: "PgJson" }
        yield* append({ _tag: "Attached", json }, { metadata: json }).pipe(as(tenant))
        const stored = (yield* read().pipe(as(tenant))).at(-1)
        assert.deepStrictEqual([stored?.payload, stored?.metadata], [{ _tag: "Attached", json }, json])
      }
    })),

  ...["a\0b", "a\uD800b", "\uDC00"].map((text) =>
    test(`23: ${JSON.stringify(text)} is refused in every place`, () =>
      untouched((tenant) =>
        Effect.gen(function* () {
          const payload = yield* write(text).pipe(failsWith("InvalidEvent"), as(tenant))
          assert.deepStrictEqual(payload.path, ["payload", "text"])
          const deep = yield* append({ _tag: "Attached", json: { a: [0, { b: text }] } }).pipe(
            failsWith("InvalidEvent"),
            as(tenant)
          )
          assert.deepStrictEqual(deep.path, ["payload", "json", "a", 1, "b"])
          yield* append({ _tag: "Attached", json: { [text]: 1 } }).pipe(failsWith("InvalidEvent"), as(tenant))
          const metadata = yield* write("x", { metadata: { key: text } }).pipe(
            failsWith("InvalidEvent"),
            as(tenant)
          )
          assert.deepStrictEqual(metadata.path, ["metadata", "key"])
          yield* write("x", { actor: text }).pipe(failsWith("InvalidEvent"), as(tenant))
          yield* write("x", { stream: text }).pipe(failsWith("InvalidAggregateId"), as(tenant))
          for (const context of [{ actor: text }, { correlationId: text }, { causationId: text }]) {
            yield* write("x").pipe(EventContext.provide(context), failsWith("InvalidEvent"), as(tenant))
          }
        })
      ))
  ),

  test("24: a number is read back unchanged or refused", () =>
    Effect.gen(function* () {
      const tenant = yield* Tenant.generate
      const numbers = [2 ** 53, 2 ** 53 + 2, -(2 ** 63), 1e21, 1e308, 5e-324, 0.1 + 0.2, 1 / 3, -1.5e-7]
      for (const value of [...numbers, -0, Number.NaN, Infinity, -Infinity]) {
        for (const event of [
          { _tag: "Measured", value } as const,
          { _tag: "Attached", json: { value } as Schema.Json } as const
        ]) {
          const exit = yield* Effect.exit(append(event).pipe(as(tenant)))
          if (Exit.isFailure(exit)) {
            assert.notInclude(numbers, value)
            yield* append(event).pipe(failsWith("InvalidEvent"), as(tenant))
            continue
          }
          const stored = (yield* read().pipe(as(tenant))).at(-1)?.payload
          assert.deepStrictEqual(stored, event)
        }
      }
      for (const value of [2n ** 80n, -(2n ** 63n) - 1n]) {
        yield* append({ _tag: "Counted", value }).pipe(as(tenant))
        assert.deepStrictEqual((yield* read().pipe(as(tenant))).at(-1)?.payload, { _tag: "Counted", value })
      }
    })),

  test("25: a value over a limit is refused with the name of the limit, and one just below it can be read", () =>
    Effect.gen(function* () {
      yield* untouched((tenant) =>
        Effect.gen(function* () {
          const limitOf = <A, E extends { readonly _tag: string }, R>(attempt: Effect.Effect<A, E, R>) =>
            Effect.map(attempt.pipe(failsWith("LimitExceeded")), (error) =>
              "limit" in error ? error.limit : undefined
            )
          const store = yield* EventStore.EventStore
          const big = "x".repeat(1 << 20)
          const many = Array.from({ length: 10_001 }, () => noted(""))
          const all = store.append({ aggregate: Note, id: "many", expectedVersion: "any", events: many })
          const heavy = store.append({
            aggregate: Note,
            id: "heavy",
            expectedVersion: "any",
            events: Array.from({ length: 17 }, () => noted("x".repeat(1_000_000)))
          })
          assert.deepStrictEqual(
            yield* Effect.all([
              limitOf(write(big)),
              limitOf(write("x", { metadata: { big } })),
              limitOf(all),
              limitOf(heavy),
              limitOf(write("x", { stream: "x".repeat(256) })),
              limitOf(write("x", { actor: "x".repeat(256) })),
              limitOf(append({ _tag: "Attached", json: nested(100) })),
              limitOf(append({ _tag: "Attached", json: nested(100_000) })),
              limitOf(write("x", { metadata: { deep: nested(100_000) } }))
            ]).pipe(as(tenant)),
            [
              "eventBytes",
              "eventBytes",
              "appendEvents",
              "appendBytes",
              "idLength",
              "idLength",
              "depth",
              "depth",
              "depth"
            ]
          )
        })
      )
      const tenant = yield* Tenant.generate
      const text = "\u{1F512}".repeat(255_000)
      const stream = "\u20AC".repeat(255)
      yield* write(text, { stream }).pipe(as(tenant))
      assert.deepStrictEqual(texts(yield* read(stream).pipe(as(tenant))), [text])
      assert.deepStrictEqual(texts(yield* log().pipe(as(tenant))), [text])
    })),

  test("26: keys such as __proto__ are data or refused", () =>
    Effect.gen(function* () {
      const tenant = yield* Tenant.generate
      const storage = yield* EventStorage
      const parse = (text: string): Schema.JsonObject =>
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the text is that of an object
        JSON.parse(text) as Schema.JsonObject
      const proto = parse(`{"__proto__": {"admin": true}}`)
      for (const attempt of [
        append({ _tag: "Attached", json: proto }),
        append({ _tag: "Attached", json: { deep: [proto] } }),
        write("x", { metadata: proto }),
        write("x", { metadata: { deep: proto } })
      ]) {
        yield* attempt.pipe(failsWith("InvalidEvent"), as(tenant))
      }
      const data = { constructor: { prototype: { admin: true } }, toString: "x", hasOwnProperty: "x" }
      yield* append({ _tag: "Attached", json: data }, { metadata: data }).pipe(
        EventContext.provide({ metadata: { valueOf: "x" } }),
        as(tenant)
      )
      const [stored] = yield* read().pipe(as(tenant))
      assert.deepStrictEqual(stored?.payload, { _tag: "Attached", json: data })
      assert.deepStrictEqual(stored?.metadata, { valueOf: "x", ...data })
      assert.isUndefined(Reflect.get({}, "admin"))
      assert.strictEqual((yield* storage.head({ tenantId: tenant })).position, 1)
    }))
]
