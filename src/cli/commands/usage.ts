/** `usage`: events, bytes and streams per tenant and day, for billing. */
import { DateTime, Effect, Option, Schema, Stream } from "effect"
import { Command } from "effect/cli"
import * as Tenant from "../../domain/Tenant.ts"
import * as TenantRegistry from "../../store/TenantRegistry.ts"
import { asOperatorOfAll, optionalTenant, timeFlag } from "../ask.ts"
import { document, emit, number, table } from "../output.ts"
import { asFailure, type Program } from "../program.ts"

/** The document of `usage`. */
export const Used = document("usage", {
  from: Schema.DateTimeUtcFromString,
  before: Schema.DateTimeUtcFromString,
  days: Schema.Array(
    Schema.Struct({
      tenantId: Tenant.TenantId,
      day: Schema.DateTimeUtcFromString,
      events: Schema.Int,
      bytes: Schema.Int,
      newStreams: Schema.Int
    })
  )
})

export const usage = (program: Program) =>
  Command.make(
    "usage",
    {
      from: timeFlag("from", "The first time (30 days ago)"),
      before: timeFlag("before", "The end, exclusive (now)"),
      tenant: optionalTenant
    },
    (flags) =>
      Effect.gen(function* () {
        const now = yield* DateTime.now
        const before = Option.getOrElse(flags.before, () => now)
        const from = Option.getOrElse(flags.from, () => DateTime.subtract(before, { days: 30 }))
        const rows = yield* TenantRegistry.TenantRegistry.use((registry) =>
          Stream.runCollect(registry.usage({ recordedFrom: from, recordedBefore: before }))
        )
        const days = rows
          .filter(({ tenantId }) =>
            Option.match(flags.tenant, { onNone: () => true, onSome: (one) => one === tenantId })
          )
          .map(({ bytes, day, events, newStreams, tenantId }) => ({
            tenantId,
            day,
            events,
            bytes,
            newStreams
          }))
        yield* emit(Used, { command: "usage", from, before, days, next: [] }, (width) =>
          days.length === 0
            ? ["No events in this time."]
            : table(
                [
                  { title: "tenant", whole: true },
                  { title: "day" },
                  { title: "events", right: true },
                  { title: "bytes", right: true },
                  { title: "new streams", right: true }
                ],
                days.map(({ bytes, day, events, newStreams, tenantId }) => [
                  tenantId,
                  DateTime.formatIso(day).slice(0, 10),
                  number(events),
                  number(bytes),
                  number(newStreams)
                ]),
                width
              )
        )
      }).pipe(asOperatorOfAll("usage"), program.onStore, asFailure)
  ).pipe(
    Command.withDescription("Count events, bytes and streams per tenant and day"),
    Command.withExamples([
      {
        command: `${program.name} usage --from 2026-03-01 --before 2026-04-01 --json`,
        description: "The bill of March"
      }
    ])
  )
