import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Result, Schema } from "effect"
import type { EventRow } from "../../src/driver/EventStorage.ts"
import { textProblem } from "../../src/internal/json.ts"
import { decode, encode } from "../../src/lifecycle/eventLine.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import { oddRows } from "../support/archives.ts"

const decoded = (line: string): EventRow | string => Result.merge(decode(line))

const rows = oddRows(newTenant())
const [row] = rows

describe("the line of an event", () => {
  it("gives back every event, with its exact texts", () => {
    for (const odd of rows) {
      const line = encode(odd)
      assert.notMatch(line, /[\n\r]/)
      assert.deepStrictEqual(decoded(line), odd)
    }
  })

  it("is JSON with the fields of a stored event", () => {
    const line = encode({ ...oddRows(newTenant(), 12)[11], payload: '{"a":[1]}' } as EventRow)
    const parsed = JSON.parse(line) as Record<string, unknown>
    assert.deepStrictEqual(Object.keys(parsed).slice(0, 3), ["position", "eventId", "aggregateType"])
    assert.deepStrictEqual(parsed["payload"], { a: [1] })
  })

  const Text = Schema.String.check(Schema.makeFilter((text: string) => textProblem(text)))
  it.effect.prop(
    "gives back any JSON and any texts",
    [
      Arbitrary.schema(Schema.Json),
      Arbitrary.schema(Schema.Json),
      Arbitrary.schema(Text),
      Arbitrary.schema(Schema.Boolean)
    ],
    ([payload, extra, text, pretty]) =>
      Effect.sync(() => {
        if (row === undefined) return
        const odd: EventRow = {
          ...row,
          correlationId: text,
          actor: text,
          tags: [text],
          metadata: JSON.stringify({ extra, payload }, null, pretty ? 1 : 0),
          payload: JSON.stringify(payload, null, pretty ? 2 : 0)
        }
        assert.deepStrictEqual(decoded(encode(odd)), odd)
      }),
    { arbitrary: { runs: 200, size: 20 } }
  )

  it("is the only one: another spelling of the same event is refused", () => {
    assert.isDefined(row)
    const line = encode({ ...row, payload: '{"a":1}', metadata: '{"b":2}' })
    assert.isObject(decoded(line))
    const others = [
      ` ${line}`,
      `${line} `,
      line.replace('{"position":1,', '{"position": 1,'),
      line.replace('"position":1,', '"position":1,"position":1,'),
      line.replace('"version":1', '"version":1.0'),
      line.replace("999Z", "999+00:00"),
      line.replace('"correlationId"', '"causationId":null,"correlationId"'),
      line.replace('"eventType"', '"unknown":1,"eventType"'),
      line.replace(/^\{/, '{"a":1,').replace(/,"payload".*/, "}"),
      line.replace(',"payload":', ',"payload" :'),
      line.replace('{"b":2}', '{"b":2},"metadata":{}'),
      line.replace('{"a":1}}', '{"a":1}},"payload":{}}'),
      line.replace('{"a":1}', '{"a":1'),
      line.replace('"version":1', '"version":"1"'),
      line.replace('"position":1', '"position":-1'),
      line.replace('"actor":"some', '"actor":5,"x":"some'),
      line.replace("0190c5a0", "0190C5A0"),
      line.replace('"actor":"some', '"actor":"\\u0000some'),
      line.replace('"correlationId":"c', '"correlationId":"\\u0063'),
      "[]",
      "null",
      ""
    ]
    for (const other of others) {
      assert.notStrictEqual(other, line)
      assert.isString(decoded(other), other)
    }
  })
})
