/** The contract of drivers: events are read exactly as they were written. */
import { assert, type Vitest } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { type EventRow, EventStorage } from "../../driver/EventStorage.ts"
import { aggregateType, append, event, events, newTenant, readLog, readStream, stream } from "./eventKit.ts"

/** JSON texts that a driver might rewrite. */
export const texts = {
  "the order of keys": '{"b":1,"a":{"d":2,"c":3},"10":0,"9":0}',
  "the spelling of numbers":
    '{"n":[1.0,1e21,1E-7,0.1,-0,12345678901234567890,0.30000000000000004,9007199254740993]}',
  "white space": ' {\n\t"a" : [ 1 , 2 ] } ',
  escapes: '{"text":"\\u00e9 \\/ \\n \\ud83d\\ude00 \\\\ \\""}',
  "all of Unicode": JSON.stringify({
    text: "é \u0001\u007f\u2028\u2029\ufeff\ufffe\uffff 😀 e\u0301 \u202e",
    ключ: "値"
  }),
  "text that looks like SQL, arrays and NULL": JSON.stringify({
    text: `'; drop table events; -- {a,"b",NULL} \\x00 $1 %s`
  }),
  "a prototype's keys": '{"__proto__":{"admin":true},"constructor":{"prototype":1}}',
  "repeated keys": '{"a":1,"a":2}',
  "a scalar": '"NULL"',
  "an empty list": "[]",
  "a long string": JSON.stringify({ text: "0123456789 äöü ".repeat(20_000) }),
  "deep nesting": `${"[".repeat(500)}${"]".repeat(500)}`
}

export const fidelity = (it: Vitest.MethodsNonLive<EventStorage>): void => {
  it.effect("personal fields are sealed, or their event is refused and not stored", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const payload = '{"name":"Ada"}'
      const personal = [{ path: ["name"], subject: "ada" }]
      const exit = yield* Effect.exit(append(tenant, stream("one", [event(), event({ payload, personal })])))
      const { rows } = yield* readStream(tenant, "one")
      if ((yield* EventStorage).seals === true) assert.strictEqual(rows[1]?.payload, payload)
      else {
        assert.isTrue(Exit.hasDies(exit))
        assert.deepStrictEqual(rows, [])
      }
    })
  )

  it.effect("every field is read as it was written", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const written = [
        event({ eventType: "First", schemaVersion: 3, occurredAt: 1_234_567_890_123 }),
        event({ actor: null, causationId: null }),
        event({ occurredAt: -62_135_596_800_000, correlationId: "NULL", actor: '{"}' }),
        event({ occurredAt: 253_402_300_799_999, actor: "null", causationId: "," }),
        event({ occurredAt: -1, actor: " ", correlationId: "\\" }),
        event({ traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }),
        event({ eventType: 'Type "quoted" \\ 値', correlationId: "😀".repeat(127), actor: "%_*?" })
      ]
      const receipt = yield* append(tenant, stream("one", written))
      const expected: Array<EventRow> = []
      for (const [index, recordedAt] of receipt.recordedAt.entries()) {
        const place = {
          aggregateType,
          aggregateId: "one",
          position: index + 1,
          version: index + 1,
          recordedAt,
          hash: null
        }
        const { traceparent = null, ...one } = written[index] ?? event()
        expected.push({ ...one, ...place, traceparent })
      }
      assert.deepStrictEqual(yield* readLog(tenant), { rows: expected, complete: true })
      assert.deepStrictEqual(yield* readStream(tenant, "one"), { rows: expected, complete: true })
    })
  )

  it.effect.each(Object.entries(texts))("JSON is read to the letter: %s", ([, text]) =>
    Effect.gen(function* () {
      const tenant = newTenant()
      // Metadata is an object, always.
      const metadata = `{"nested":${text}}`
      yield* append(tenant, stream("one", [event({ payload: text, metadata })]))
      const [row] = (yield* readLog(tenant)).rows
      assert.strictEqual(row?.payload, text)
      assert.strictEqual(row?.metadata, metadata)
    })
  )

  it.effect("streams are distinguished by every character of type and id", () =>
    Effect.gen(function* () {
      const tenant = newTenant()
      const names = [
        "a",
        "A",
        "a ",
        " a",
        "á",
        "a\u0301",
        "%",
        "_",
        "a/b",
        "a\u00a0",
        "'",
        '"',
        "\\",
        "NULL",
        "{}"
      ]
      // The longest names that a store accepts: 255 characters of up to four bytes each.
      names.push("x".repeat(255), "😀".repeat(127))
      for (const name of names) yield* append(tenant, stream(name, events(1), 0, "a"))
      for (const name of names) yield* append(tenant, stream("a", events(1), name === "a" ? 1 : 0, name))
      const { rows } = yield* readLog(tenant)
      assert.deepStrictEqual(
        rows.map((row) => [row.aggregateType, row.aggregateId]),
        [...names.map((name) => ["a", name]), ...names.map((name) => [name, "a"])]
      )
      for (const name of names) {
        const own = yield* readStream(tenant, name, { aggregateType: "a" })
        assert.deepStrictEqual(
          own.rows,
          rows.filter((row) => row.aggregateType === "a" && row.aggregateId === name)
        )
        const ofType = yield* readLog(tenant, { aggregateTypes: [name] })
        assert.deepStrictEqual(
          ofType.rows,
          rows.filter((row) => row.aggregateType === name)
        )
      }
    })
  )
}
