/** Commands: new streams, one contended stream, and load-decide-append. */
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import * as EventStore from "../../src/store/EventStore.ts"
import * as Repository from "../../src/store/Repository.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { Cart, itemAdded } from "../internal/domain.ts"
import { interleave } from "../internal/measure.ts"
import { fibers, newTenants, startOn } from "../internal/ours.ts"
import { prepareRaw, rawAppend } from "../internal/raw.ts"
import { table } from "../internal/report.ts"
import type { Case } from "./Case.ts"

const concurrency = 32

export const commandCases: ReadonlyArray<Case> = [
  {
    name: "commands, 32 concurrent",
    run: async ({ server, rounds, seconds }) => {
      const [rawDatabase, database] = [await server.newDatabase(), await server.newDatabase()]
      await prepareRaw(rawDatabase)
      const runtime = startOn(database)
      const [tenantId = Tenant.untenanted] = newTenants(1)
      const carts = Array.from({ length: concurrency }, () => randomUUID())
      const contended = randomUUID()
      const run =
        (
          operation: (
            fiber: number
          ) => Effect.Effect<
            unknown,
            unknown,
            EventStore.EventStore | Repository.Repository | Tenant.CurrentTenant
          >
        ) =>
        (time: number) =>
          runtime.runPromise(fibers(concurrency, time, (fiber) => Tenant.provide(tenantId)(operation(fiber))))
      const measured = await interleave(
        [
          ...(await rawAppend(rawDatabase, concurrency, 1, 200)),
          {
            name: "append to a new stream",
            run: run(() =>
              EventStore.EventStore.use((store) =>
                store.append({
                  aggregate: Cart,
                  id: randomUUID(),
                  expectedVersion: "noStream",
                  events: [itemAdded(1)]
                })
              )
            )
          },
          {
            name: "append to one contended stream, at any version",
            run: run(() =>
              EventStore.EventStore.use((store) =>
                store.append({
                  aggregate: Cart,
                  id: contended,
                  expectedVersion: "any",
                  events: [itemAdded(1)]
                })
              )
            )
          },
          {
            name: "execute on a cart of each fiber (at most 50 events)",
            run: run((fiber) =>
              Repository.Repository.use((repository) =>
                repository.execute(Cart, carts[fiber] ?? "", ({ items }) => {
                  if (items >= 50) carts[fiber] = randomUUID()
                  return [itemAdded(items)]
                })
              )
            )
          },
          {
            name: "execute on two contended carts",
            run: run((fiber) =>
              Repository.Repository.use((repository) =>
                repository.execute(Cart, carts[fiber % 2] ?? "", ({ items }) => {
                  if (items >= 50) carts[fiber % 2] = randomUUID()
                  return [itemAdded(items)]
                })
              ).pipe(Effect.catchTag("Conflict", () => Effect.void))
            )
          }
        ],
        { rounds, seconds }
      )
      await runtime.dispose()
      await rawDatabase.close()
      await database.close()
      return { tables: [table("Commands, 32 concurrent, one tenant", "commands/s", measured)], targets: [] }
    }
  }
]
