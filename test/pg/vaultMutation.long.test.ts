/** Mutants of the functions of the key vault: each lacks one predicate, and a case of the contract of key vaults must fail. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, type Vitest } from "@effect/vitest"
import { Effect, Exit, Layer, References } from "effect"
import { SqlClient } from "effect/sql"
import { randomUUID } from "node:crypto"
import type { KeyVault } from "../../src/forgetting/KeyVault.ts"
import { vaultFiles } from "../../src/pg/sqlFiles.ts"
import { keyVaultCases } from "../../src/testing/keyVaultCases.ts"
import { servers } from "../support/Databases.ts"
import { newRootKey, vaultDatabase, vaultOn } from "../support/vaultDatabases.ts"

interface VaultCase {
  readonly name: string
  readonly run: Effect.Effect<unknown, unknown, KeyVault>
}

const cases = (): ReadonlyArray<VaultCase> => {
  const found: Array<VaultCase> = []
  const collector = {
    effect: (name: string, run: () => VaultCase["run"]) => found.push({ name, run: run() })
  }
  keyVaultCases(collector as unknown as Vitest.MethodsNonLive<KeyVault>)
  return found
}

interface Mutant {
  readonly name: string
  readonly sql: string
  readonly original: string
}

/** A comparison of a column, in the conditions of a function. */
const predicate =
  /\b[a-z]\.\w+ (?:(?:=|<|>|<>) (?:\([^()]*\)(?:::uuid)?|[a-z]\.\w+|\w+ ->> '\w+'|\w+)|is (?:not )?null)/g

/** Statements that assign, and the answer's columns, are no conditions. */
const isCondition = (before: string): boolean => !/\bset\s[^;]*$/.test(before.split(/\bwhere\b/).at(-1) ?? "")

const mutants = (): ReadonlyArray<Mutant> =>
  vaultFiles.flatMap(({ path, sql: file }) => {
    // The statement alone, without the comment behind it.
    const sql = /create or replace function.*?\n\$\$;/s.exec(file)?.[0]
    if (sql === undefined) return []
    return [...sql.matchAll(predicate)].flatMap((match): ReadonlyArray<Mutant> => {
      const [found] = match
      const before = sql.slice(0, match.index)
      if (!isCondition(before)) return []
      const number = before.split("\n").length
      return [
        {
          name: `${path.replace(/^vault\/|\.sql$/g, "")}:${number} ${found}`,
          sql: `${before}true${sql.slice(match.index + found.length)}`,
          original: sql
        }
      ]
    })
  })

/** Predicates without which the answers are the same, with the reason. */
const equivalent: ReadonlyMap<string, string> = new Map([
  ["lock_tenant:8 t.tenant_id = p_tenant", "it locks more"],
  ["drop_wrapping_keys:10 c.tenant_id = p_tenant", "a current wrapping key that wraps nothing is made again"],
  ["drop_wrapping_keys:13 k.tenant_id = p_tenant", "ids of wrapping keys are random"],
  ["drop_wrapping_keys:13 k.fenced_by is null", "a wrapping key of fenced keys is removed later"],
  ["add_destroyed_keys:11 k.tenant_id = p_tenant", "versions of keys without an owner have gaps"],
  [
    "destroy_keys:9 k.tenant_id = p_tenant",
    "a key that is fenced by the same forgetting is destroyed earlier"
  ],
  ["destroy_keys:9 k.wrapped is not null", "only slower"],
  ["erase_keys:9 k.wrapped is not null", "only slower"]
])

/** Cases of races between processes, which the contract cannot bring about at will. */
const raceCases = (
  query: (text: string, parameters: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<object>, unknown>
): ReadonlyArray<VaultCase> => {
  const call = (name: string, ...parameters: ReadonlyArray<unknown>) =>
    Effect.map(
      query(
        `select eventsourcing_vault.${name}(${parameters.map((_, index) => `$${index + 1}`).join()}) as answer`,
        parameters.map((one) => (typeof one === "object" ? JSON.stringify(one) : one))
      ),
      ([row]) => (row !== undefined && "answer" in row ? row.answer : undefined)
    )
  const wrapped = (tenantId: string) =>
    query("select wrapped is not null as there from eventsourcing_vault.data_keys where tenant_id = $1", [
      tenantId
    ])
  const newKey = (keyId: string, wrappedBy: string) => [
    { kind: "subject", name: "ada", keyId, wrappedBy, wrapped: "00" }
  ]
  const fence = (forgetting: string) => ({
    subject: "ada",
    forgetting,
    forgottenAt: 1,
    actor: "dpo",
    reason: "asked"
  })
  const addWrapping = (tenantId: string, keyId: string) =>
    query("select eventsourcing_vault.add_wrapping_key($1, $2, '\\x00'::bytea, null)", [tenantId, keyId])
  return [
    {
      name: "no data key is added under a wrapping key that the tenant does not have",
      run: Effect.gen(function* () {
        const [own, other] = [randomUUID(), randomUUID()]
        yield* addWrapping(own, `own ${own}`)
        yield* addWrapping(other, `other ${other}`)
        for (const wrappedBy of [`other ${other}`, "removed"])
          assert.deepStrictEqual(yield* call("add_keys", own, newKey(randomUUID(), wrappedBy)), [null])
        assert.deepStrictEqual(yield* wrapped(own), [])
      })
    },
    {
      name: "a key that was destroyed meanwhile is not wrapped again",
      run: Effect.gen(function* () {
        const [tenantId, keyId, forgetting] = [randomUUID(), randomUUID(), randomUUID()]
        yield* addWrapping(tenantId, "w")
        yield* call("add_keys", tenantId, newKey(keyId, "w"))
        yield* call("add_fence", tenantId, fence(forgetting))
        yield* call("destroy_keys", tenantId, forgetting)
        yield* call("rewrap_keys", tenantId, [{ keyId, wrappedBy: "w", wrapped: "01" }])
        assert.deepStrictEqual(yield* wrapped(tenantId), [{ there: false }])
      })
    },
    {
      name: "a later fence takes no keys from an earlier one, which destroys them",
      run: Effect.gen(function* () {
        const [tenantId, first, second] = [randomUUID(), randomUUID(), randomUUID()]
        yield* addWrapping(tenantId, "w")
        yield* call("add_keys", tenantId, newKey(randomUUID(), "w"))
        yield* call("add_fence", tenantId, fence(first))
        yield* call("add_fence", tenantId, fence(second))
        yield* call("destroy_keys", tenantId, first)
        assert.deepStrictEqual(yield* wrapped(tenantId), [{ there: false }])
      })
    }
  ]
}

describe("the predicates of the key vault", () => {
  const [server] = servers
  it.live("are each needed by a case of the contract", () =>
    Effect.gen(function* () {
      if (server === undefined) return assert.fail("no server")
      const { app, owner } = yield* vaultDatabase(server)
      const vault = yield* Layer.build(vaultOn(app, newRootKey(), true))
      const asOwner = yield* Layer.build(PgClient.layer({ ...owner, maxConnections: 1 }))
      const replace = (sql: string) =>
        Effect.provideContext(
          SqlClient.SqlClient.use((client) => client.unsafe(sql).unprepared),
          asOwner
        )
      /** The name of the first case that fails. One that found a mutant before is tried first. */
      const order = [
        ...cases(),
        ...raceCases((text, parameters) =>
          Effect.provideContext(
            SqlClient.SqlClient.use((client) => client.unsafe<object>(text, parameters)),
            asOwner
          )
        )
      ]
      const killer = Effect.gen(function* () {
        for (const [index, one] of order.entries()) {
          const exit = yield* one.run.pipe(
            Effect.provideContext(vault),
            Effect.timeout("10 seconds"),
            Effect.exit,
            Effect.provideService(References.CurrentLoggers, new Set())
          )
          if (Exit.isSuccess(exit)) continue
          order.splice(index, 1)
          order.unshift(one)
          return one.name
        }
        return undefined
      })
      assert.isUndefined(yield* killer, "without a mutant")
      const known = mutants()
      assert.isAbove(known.length, 30)
      const survivors: Array<string> = []
      for (const { name, original, sql } of known) {
        yield* replace(sql)
        const killedBy = yield* killer
        yield* replace(original)
        yield* Effect.logInfo(`${name}: ${killedBy ?? "nothing"}`)
        if (killedBy === undefined) survivors.push(name)
      }
      assert.deepStrictEqual(survivors.toSorted(), [...equivalent.keys()].toSorted())
    }).pipe(Effect.scoped)
  )
})
