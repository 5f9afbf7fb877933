import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { servers } from "../support/Databases.ts"
import { urlOf } from "../support/databaseUrl.ts"
import { run, runBundled } from "./run.ts"

const expected = [
  "north-school: 2 refused, 30 registered",
  "  requests: 108 refused, 20 enrolled",
  "  algebra: 5 of 5 seats are taken",
  "  botany: 5 of 5 seats are taken",
  "  chemistry: 5 of 5 seats are taken",
  "  dancing: 5 of 5 seats are taken",
  "  0 students have more than 2 courses",
  "south-school: 2 refused, 30 registered",
  "  requests: 116 refused, 12 enrolled",
  "  algebra: 3 of 3 seats are taken",
  "  botany: 3 of 3 seats are taken",
  "  chemistry: 3 of 3 seats are taken",
  "  dancing: 3 of 3 seats are taken",
  "  0 students have more than 2 courses",
  ""
]

describe("examples/enrolment.ts", () => {
  it("fills every seat and none twice, embedded", async () => {
    const { status, output, errors } = await run("enrolment")
    assert.strictEqual(errors, "")
    assert.strictEqual(status, 0)
    assert.deepStrictEqual(output.split("\n"), expected)
  })

  it.live.each(servers)("fills the same on $name", ({ freshDatabase }) =>
    Effect.gen(function* () {
      const { owner } = yield* freshDatabase
      const { status, output, errors } = yield* Effect.promise(() =>
        runBundled("enrolment", [], urlOf(owner))
      )
      assert.strictEqual(errors, "")
      assert.strictEqual(status, 0)
      assert.deepStrictEqual(output.split("\n"), expected)
    }).pipe(Effect.scoped)
  )
})
