/** Archives that lie about forgotten subjects, keys or sealed fields are refused. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as format from "../../src/lifecycle/archiveFormat.ts"
import * as TenantArchive from "../../src/lifecycle/TenantArchive.ts"
import { newTenant } from "../../src/testing/driver/eventKit.ts"
import * as archives from "../support/archives.ts"

const tenantId = newTenant()
const rows = archives.oddRows(tenantId)
const segmentsOf = (all: typeof rows) => [all.slice(0, 10), all.slice(10)]
const first = "10-events-000001.ndjson"
const { manifestName } = format

const refused = (file: string, reason: string, line: number | null = null) => ({ file, line, reason })

const verify = (files: archives.Files) =>
  Effect.map(Effect.result(TenantArchive.verifyFiles(archives.stream(files))), (result) =>
    Result.isFailure(result)
      ? refused(result.failure.file, result.failure.reason, result.failure.line)
      : "accepted"
  )

describe("an archive of a tenant with personal fields", () => {
  it.effect("is refused if it lies about subjects, keys or sealed fields", () =>
    Effect.gen(function* () {
      const subject = (name: string, number?: number, forgetting: string = newTenant()) =>
        format.subjectLine({
          subject: name,
          forgotten:
            number === undefined
              ? undefined
              : { number, forgetting, forgottenAt: 1, actor: "a", reason: "r", allowedAgainAt: undefined },
          begun: undefined,
          hold: { actor: "a", reason: "r", heldAt: 1 }
        })
      const made = (subjects: ReadonlyArray<string>, forgotten = 9) =>
        Effect.flatMap(
          archives.archiveOf(segmentsOf(rows), { tenantId, forgotten, others: { subjects } }),
          (files) => verify(files)
        )
      const file = "60-subjects-000001.ndjson"
      assert.strictEqual(
        yield* made([subject("Z", 2), subject("a", 9), subject("b"), subject("ä", 1)]),
        "accepted"
      )
      assert.deepStrictEqual(yield* made([subject("a"), subject("a")]), refused(file, "inconsistent", 2))
      assert.deepStrictEqual(yield* made([subject("b"), subject("a")]), refused(file, "inconsistent", 2))
      assert.deepStrictEqual(
        yield* made([subject("a", 2), subject("b", 2)]),
        refused(file, "inconsistent", 2)
      )
      assert.deepStrictEqual(yield* made([subject("a", 3)], 2), refused(manifestName, "inconsistent"))
      for (const line of [
        subject(""),
        subject("a\0"),
        subject("a\ud800"),
        subject("a".repeat(256)),
        subject("a", 0),
        subject("a", 1.5),
        subject("a", 1, "no uuid"),
        '{"subject":"a"}',
        "[]"
      ])
        assert.deepStrictEqual(yield* made([line]), refused(file, "malformed", 1), line)

      const key = JSON.stringify({
        keyId: "A".repeat(22),
        subject: "a",
        purpose: null,
        version: 1,
        wrapped: ""
      })
      const withKeys = (line: string, keys: { readonly wrapped: string } | null) =>
        Effect.flatMap(
          archives.archiveOf(segmentsOf(rows), { tenantId, keys, others: { keys: [line] } }),
          (files) => verify(files)
        )
      const keyFile = "05-keys-000001.ndjson"
      assert.strictEqual(yield* withKeys(key, { wrapped: "" }), "accepted")
      assert.deepStrictEqual(yield* withKeys(key, null), refused(keyFile, "inconsistent"))
      for (const line of [
        key.replace('"a"', "null"),
        key.replace('"purpose":null', '"purpose":"index"'),
        key.replace("AAAA", "A.AA"),
        key.replace(":1", ":0")
      ])
        assert.deepStrictEqual(yield* withKeys(line, { wrapped: "" }), refused(keyFile, "malformed", 1), line)

      const sealedRows = rows.map((row) => ({ ...row, hash: null, payload: '{"a":{"$sealed":1}}' }))
      const sealed = (is: boolean) =>
        archives.archiveOf(segmentsOf(sealedRows), { tenantId, chainedFrom: null, sealed: is })
      assert.strictEqual(yield* verify(yield* sealed(true)), "accepted")
      assert.deepStrictEqual(yield* verify(yield* sealed(false)), refused(first, "inconsistent", 1))
      const plain = yield* archives.archiveOf(segmentsOf(rows), { tenantId, sealed: true })
      assert.deepStrictEqual(yield* verify(plain), refused(manifestName, "inconsistent"))
      const counts = archives.changing(yield* sealed(true), {
        [manifestName]: archives.withMembers({ sealedEvents: 29 })
      })
      assert.deepStrictEqual(yield* verify(counts), refused(manifestName, "inconsistent"))
    })
  )
})
