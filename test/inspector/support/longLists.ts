/** The inspector of a store that has many tenants and a long log. Its data is generated for each request, so that it needs no time to fill. */
import { DateTime, Effect, Layer } from "effect"
import type * as Tenant from "../../../src/domain/Tenant.ts"
import { TenantId } from "../../../src/domain/Tenant.ts"
import * as MemoryStorage from "../../../src/memory/MemoryStorage.ts"
import * as Actions from "../../../src/operations/Actions.ts"
import type * as Looks from "../../../src/operations/Looks.ts"
import * as Operations from "../../../src/operations/Operations.ts"
import { serveInspector } from "./site.ts"

const idOf = (nth: number): Tenant.TenantId =>
  TenantId.make(`00000000-0000-4000-8000-${nth.toString(16).padStart(12, "0")}`)

const timeOf = (nth: number) => DateTime.makeUnsafe(1_700_000_000_000 + nth * 1000)

const eventAt = (position: number): Looks.EventView => ({
  position,
  eventId: idOf(position),
  aggregateType: "Order",
  aggregateId: `order-${position % 1000}`,
  version: Math.ceil(position / 1000),
  eventType: position % 3 === 0 ? "OrderShipped" : "OrderPlaced",
  schemaVersion: 1,
  occurredAt: timeOf(position),
  recordedAt: timeOf(position),
  actor: "ada",
  correlationId: `request-${Math.floor(position / 3)}`,
  causationId: null,
  traceparent: null,
  tags: [`customer:${position % 97}`, "web"],
  characters: 180,
  sealed: false,
  stored: { _tag: "string(11)", customer: "string(8)", lines: [{ product: "string(9)", amount: "number" }] },
  metadata: {},
  present: [
    { _tag: "string(11)", customer: "string(8)", lines: [{ product: "string(9)", amount: "number" }] }
  ],
  unreadable: null
})

const tenantOf = (nth: number, head: number): Looks.TenantSummary => ({
  tenantId: idOf(nth),
  status: nth % 50 === 0 ? "suspended" : "active",
  createdAt: timeOf(nth),
  head,
  lastAppendAt: timeOf(head),
  lastDay: nth % 1000,
  lastWeek: nth % 5000,
  deadLetters: nth % 40 === 0 ? 3 : 0,
  slowest: { projection: "orders", version: 1, distance: nth % 100 },
  quota: null,
  hold: null,
  move: null
})

/** Serves a number of tenants, each with a log of some length. Other looks find an empty store. */
export const longLists = (tenants: number, head: number) =>
  Effect.gen(function* () {
    const operations = yield* Operations.Operations
    return yield* serveInspector(
      Layer.merge(
        Layer.succeed(Operations.Operations, {
          ...operations,
          tenants: ({ after, limit = 100 } = {}) => {
            const first = after === undefined ? 1 : Number.parseInt(after.tenantId.slice(-12), 16) + 1
            const found = Array.from(
              { length: Math.max(0, Math.min(limit, tenants - first + 1)) },
              (_, nth) => tenantOf(first + nth, head)
            )
            const last = found.at(-1)
            return Effect.succeed({
              tenants: found,
              next:
                last === undefined || first + limit > tenants ? null : { value: 0, tenantId: last.tenantId }
            })
          },
          log: ({ direction = "backwards", from, limit = 100 } = {}) => {
            const backwards = direction === "backwards"
            const first = from ?? (backwards ? head : 1)
            const length = Math.max(0, Math.min(limit, backwards ? first : head - first + 1))
            return Effect.succeed({
              events: Array.from({ length }, (_, nth) => eventAt(backwards ? first - nth : first + nth)),
              head,
              scanned: length,
              next: null
            })
          }
        }),
        Actions.layer()
      ).pipe(Layer.provide(MemoryStorage.layer)),
      () => Effect.succeed({ actor: "boss", tenants: "all", may: "look" })
    )
  }).pipe(Effect.provide(Operations.layer().pipe(Layer.provide(MemoryStorage.layer))))

/** One of the tenants. */
export const oneTenant: Tenant.TenantId = idOf(1)

/** A script that counts all nodes of a document: elements, texts and comments. */
export const countNodes = `(() => {
  const nodes = document.createNodeIterator(document)
  let count = 0
  while (nodes.nextNode() !== null) count++
  return count
})()`
