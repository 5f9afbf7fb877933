import { assert, describe, it } from "@effect/vitest"
import { lockTimeoutOf } from "../../src/pg/lockTimeout.ts"

describe("the time that appends of a locked tenant wait", () => {
  it.each([
    ["300ms", 300],
    ["300", 300],
    ["2s", 2_000],
    [" 1.5 min ", 90_000],
    ["0", 10_000],
    ["none", 10_000],
    [undefined, 10_000]
  ] as const)("is the client's lock_timeout: %s", (stated, millis) => {
    assert.strictEqual(
      lockTimeoutOf(stated === undefined ? {} : { startupParameters: { lock_timeout: stated } }),
      millis
    )
  })
})
