/** Error messages of the compiler: the first line of each describes the mistake, at its place. */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

const program = `import { Effect, Schema } from "effect"
import { Aggregate, type EventStore, type Repository } from "effect-eventsourcing"

interface DoorOpened { readonly _tag: "DoorOpened"; readonly by: string }
interface OrderPlaced { readonly _tag: "OrderPlaced"; readonly total: number }
const DoorOpened: Schema.Codec<DoorOpened> = Schema.TaggedStruct("DoorOpened", { by: Schema.String })
const Door = Aggregate.make("Door", { state: Schema.Null, initial: null, events: [DoorOpened] }, (state) => state)
declare const placed: OrderPlaced
declare const store: EventStore.EventStore["Service"]
declare const repository: Repository.Repository["Service"]
const key = { aggregate: Door, id: "1", expectedVersion: "any" } as const

store.append({ ...key, events: [placed] })
store.appendAll([{ ...key, events: [placed] }])
repository.execute(Door, "1", () => [placed])
repository.execute(Door, "1", () => Effect.succeed([placed]))
repository.save(Door, "1", { events: [placed], expectedVersion: 0 })
`

/** The first lines of the compiler's errors, each with the code at its place. */
const errorsOf = (source: string): ReadonlyArray<readonly [at: string, message: string]> => {
  const folder = Fs.mkdtempSync(Path.join(root, "node_modules", ".messages-"))
  try {
    Fs.writeFileSync(Path.join(folder, "program.ts"), source)
    Fs.writeFileSync(
      Path.join(folder, "tsconfig.json"),
      JSON.stringify({ extends: "../../tsconfig.json", include: [], files: ["program.ts"] })
    )
    const tsc = Path.join(root, "node_modules", "typescript", "bin", "tsc")
    const { stdout } = spawnSync(process.execPath, [tsc, "-p", folder, "--pretty", "false"], {
      encoding: "utf8"
    })
    return [...stdout.matchAll(/^.*program\.ts\((\d+),(\d+)\): error TS\d+: (.*)$/gm)].map(
      ([, line, column, message]) => [
        (source.split("\n")[Number(line) - 1] ?? "").slice(Number(column) - 1),
        message ?? ""
      ]
    )
  } finally {
    Fs.rmSync(folder, { recursive: true })
  }
}

describe("the compiler", () => {
  it("names the event of another aggregate where it is written, and the events that are allowed", () => {
    const named = "Type 'OrderPlaced' is not assignable to type 'Appendable<DoorOpened>'."
    assert.deepStrictEqual(errorsOf(program), [
      ["placed] })", named],
      ["placed] }])", named],
      ["placed])", named],
      [
        "Effect.succeed([placed]))",
        "Type 'Effect<OrderPlaced[], never, never>' is not assignable to type 'Decision<DoorOpened, unknown, unknown>'."
      ],
      ["placed], expectedVersion: 0 })", named]
    ])
  }, 30_000)
})
