/** docs/command-line.md against the program. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import * as Path from "node:path"
import * as Cli from "../../src/cli/Cli.ts"
import { runCommand } from "../support/commandLine.ts"
import { root } from "../support/snippets.ts"

const page = readFileSync(Path.join(root, "docs/command-line.md"), "utf8")

describe("docs/command-line.md", () => {
  it.live("lists the commands as the help does", () =>
    Effect.gen(function* () {
      const { exitCode, stdout } = yield* runCommand(Cli.make(), ["--help"])
      assert.strictEqual(exitCode, 0)
      const listed = (/SUBCOMMANDS\n([^]*)$/.exec(stdout)?.[1] ?? "")
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== "")
      assert.isAbove(listed.length, 10)
      const written = (/## Commands[^]*?```text\n([^]*?)```/.exec(page)?.[1] ?? "").trim().split("\n")
      assert.deepStrictEqual(written, listed)
    })
  )

  it("lists the exit codes", () => {
    const written = [...page.matchAll(/^\| (\d+) +\| `(\w+)` /gm)].map(([, code, name]) => [
      name,
      Number(code)
    ])
    assert.deepStrictEqual(Object.fromEntries(written), Cli.exitCodes)
  })

  it("lists the checks of the doctor", () => {
    const checks = new Set(
      ["src/pg/doctor", "src/pg", "src/cli/doctor", "src/cli/commands"].flatMap((folder) =>
        readdirSync(Path.join(root, folder))
          .filter((file) => file.endsWith(".ts"))
          .flatMap((file) =>
            [...readFileSync(Path.join(root, folder, file), "utf8").matchAll(/\bfinder\(\s*"(\w+)"/g)].map(
              ([, check]) => check
            )
          )
      )
    )
    const written = [...page.matchAll(/^\| `(\w+)` +\| (?!It )/gm)].map(([, check]) => check)
    assert.deepStrictEqual(new Set(written), checks)
  })

  it.live("names flags that every command has", () =>
    Effect.gen(function* () {
      const { stdout } = yield* runCommand(Cli.make(), ["tail", "--help"])
      for (const flag of [
        "--url",
        "--host",
        "--port",
        "--user",
        "--database",
        "--pooled",
        "--actor",
        "--reason",
        "--json"
      ]) {
        assert.include(stdout, flag)
        assert.include(page, flag)
      }
      // Flags in the text exist, in one command or another.
      const helps = yield* Effect.forEach(["tail", "erase", "verify", "inspect"], (command) =>
        runCommand(Cli.make(), [command, "--help"])
      )
      const all = helps.map((help) => help.stdout).join("\n")
      for (const [, flag = ""] of page.matchAll(/`(--[a-z-]+)/g)) assert.include(all, `${flag} `, flag)
    })
  )
})
