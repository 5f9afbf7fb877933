/** The effect of others: a tenant at a hundred times the load, and an old snapshot that stays open. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Fiber, ManagedRuntime } from "effect"
import { randomUUID } from "node:crypto"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Cart, itemAdded } from "../internal/domain.ts"
import { interleave, quantile } from "../internal/measure.ts"
import { append, fibers, newTenants, startOn } from "../internal/ours.ts"
import { table } from "../internal/report.ts"
import { client } from "../internal/server.ts"
import { type Case, under } from "./Case.ts"

const appendTo = (id: string) =>
  EventStore.EventStore.use((store) =>
    store.append({ aggregate: Cart, id, expectedVersion: "any", events: [itemAdded(1)] })
  )

/** One tenant appends about 80 times a second, at first alone, then beside another that never pauses. */
const noisy: Case = {
  name: "noisy neighbour",
  run: async ({ server, rounds, seconds: given, quick }) => {
    // the highest of only a hundred would be chance
    const seconds = quick ? given : Math.max(4, given)
    const database = await server.newDatabase()
    const runtime = startOn(database)
    const [quiet = Tenant.untenanted, loud = Tenant.untenanted] = newTenants(2)
    const id = randomUUID()
    const delays = (time: number) =>
      Effect.gen(function* () {
        const measured: Array<number> = []
        const end = performance.now() + time * 1000
        while (performance.now() < end) {
          const began = performance.now()
          yield* appendTo(id)
          measured.push(performance.now() - began)
          yield* Effect.sleep(10)
        }
        return measured
      }).pipe(Tenant.provide(quiet))
    const [alone, beside, loudRates]: [Array<number>, Array<number>, Array<number>] = [[], [], []]
    const ids = Array.from({ length: 64 }, () => randomUUID())
    await runtime.runPromise(delays(1))
    for (let round = 0; round < rounds; round++) {
      alone.push(...(await runtime.runPromise(delays(seconds))))
      beside.push(
        ...(await runtime.runPromise(
          Effect.gen(function* () {
            const noise = yield* Effect.forkChild(
              fibers(64, seconds + 0.5, (fiber) => appendTo(ids[fiber] ?? "")).pipe(Tenant.provide(loud))
            )
            yield* Effect.sleep(250)
            const measured = yield* delays(seconds)
            loudRates.push(yield* Fiber.join(noise))
            return measured
          })
        ))
      )
    }
    await runtime.dispose()
    await database.close()
    const [p99Alone, p99Beside] = [quantile(alone, 0.99), quantile(beside, 0.99)]
    return {
      tables: [
        table("A quiet tenant's append, alone and beside a tenant with 64 fibers that never pause", "ms", [
          { name: "alone, p50", rates: [quantile(alone, 0.5)] },
          { name: "alone, p99", rates: [p99Alone] },
          { name: "beside the other, p50", rates: [quantile(beside, 0.5)] },
          {
            name: "beside the other, p99",
            rates: [p99Beside],
            note: `the other: ${Math.round(quantile(loudRates, 0.5)).toLocaleString("en")} appends/s`
          }
        ])
      ],
      targets: [under("neighbour's p99 beside a busy tenant", 3, "x its p99 alone", p99Beside / p99Alone)]
    }
  }
}

/** A backup or a report keeps a snapshot open, which would slow down an updated counter more and more. */
const snapshot: Case = {
  name: "an old snapshot is open",
  run: async ({ server, quick, full }) => {
    const time = quick ? 2 : full ? 30 : 10
    const database = await server.newDatabase()
    const holder = ManagedRuntime.make(client(database.owner, 1))
    const contender = append(database, { name: "one tenant, 32 concurrent", concurrency: 32 })
    const measured = await interleave([contender], { rounds: 1, seconds: Math.min(5, time) })
    const held = append(database, { name: "while a repeatable read transaction is open", concurrency: 32 })
    const rates: Array<number> = []
    await holder.runPromise(
      PgClient.PgClient.use((sql) =>
        sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`set transaction isolation level repeatable read`
            yield* sql`select count(*) from eventsourcing.events`
            for (let part = 0; part < 5; part++) rates.push(yield* Effect.promise(() => held.run(time / 5)))
          })
        )
      )
    )
    await held.close?.()
    await holder.dispose()
    await database.close()
    return {
      tables: [
        table(
          `Appends while a repeatable read transaction is open for ${time} s`,
          "appends/s",
          [
            ...measured,
            { name: "first fifth of that time", rates: rates.slice(0, 1) },
            { name: "last fifth of that time", rates: rates.slice(-1) }
          ],
          "one tenant"
        )
      ],
      targets: []
    }
  }
}

export const neighbourCases: ReadonlyArray<Case> = [noisy, snapshot]
