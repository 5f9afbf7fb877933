import { assert, describe, it } from "@effect/vitest"
import { run } from "./run.ts"

describe("examples/tasks.ts", () => {
  it("prints the tasks of two tenants", async () => {
    const { status, output, errors } = await run("tasks")
    assert.strictEqual(errors, "")
    assert.strictEqual(status, 0)
    const ids = [...output.matchAll(/^Tenant [AB]: ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/gm)]
    const [tenantA, tenantB] = ids.map(([, id]) => id)
    assert.notStrictEqual(tenantA, tenantB)
    assert.deepStrictEqual(output.split("\n"), [
      `Tenant A: ${tenantA}`,
      `Tenant B: ${tenantB}`,
      "Created task in Tenant A: Write the guide",
      "Created task in Tenant B: Review the guide",
      "Completed task in Tenant A: Write the guide",
      "Events for Tenant A:",
      "  TaskCreated",
      "  TaskCompleted",
      "Events for Tenant B:",
      "  TaskCreated",
      "Total events in store: 3",
      "Tenant A tasks: 2 events",
      "Tenant B tasks: 1 events",
      ""
    ])
  })
})
