/**
 * Secrets are planted in everything that one tenant has, and searched for in all output of a whole program: to
 * another tenant, and in logs, traces and metrics. Layers are built within, so that their fibers are
 * overheard as well.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Queue, Schedule, Schema, Stream } from "effect"
import { SqlClient } from "effect/sql"
import * as Aggregate from "../../src/domain/Aggregate.ts"
import * as Event from "../../src/domain/Event.ts"
import * as EventContext from "../../src/domain/EventContext.ts"
import * as EventStore from "../../src/store/EventStore.ts"
import * as PgTenant from "../../src/pg/PgTenant.ts"
import * as Projection from "../../src/projection/Projection.ts"
import * as ProjectionRunner from "../../src/projection/ProjectionRunner.ts"
import * as ProjectionManager from "../../src/projection/ProjectionManager.ts"
import { Repository } from "../../src/store/Repository.ts"
import * as Subscription from "../../src/projection/Subscription.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import { TenantRegistry } from "../../src/store/TenantRegistry.ts"
import * as Canary from "../../src/testing/Canary.ts"
import {
  acrossTenants,
  append,
  as,
  log,
  Note,
  noted,
  observe,
  read,
  write
} from "../../src/testing/isolation/kit.ts"
import * as TenantIsolationSuite from "../../src/testing/TenantIsolationSuite.ts"
import { memory } from "../support/booking.ts"
import { backendsWith } from "../support/readModels.ts"

const databases = backendsWith([
  "create table notes (tenant_id uuid not null, id text not null, text text not null, primary key (tenant_id, id))",
  "select eventsourcing.register_read_model('notes')"
])

/** An aggregate that knows none of the events of {@link Note}. */
const Blind = Aggregate.make(
  Note.type,
  {
    id: Schema.String,
    state: Schema.Null,
    initial: null,
    events: [Schema.TaggedStruct("Noted", { text: Schema.Int })]
  },
  (state) => state
)

class CannotNote extends Schema.TaggedError<CannotNote>()("CannotNote", {}) {}

const projectionOf = (name: string, fails: (text: string) => boolean) =>
  Projection.make(
    name,
    { aggregates: [Note], retry: Schedule.recurs(0), onFailure: "deadLetter" },
    { Noted: ({ text }) => (fails(text) ? Effect.fail(new CannotNote()) : Effect.void) }
  )

const poisoned = projectionOf("poisoned", () => true)
const healthy = projectionOf("healthy", () => false)
const blind = Projection.make(
  "blind",
  { aggregates: [Blind], retry: Schedule.recurs(0), onFailure: "park" },
  { Noted: () => Effect.void }
)
const all = [poisoned, healthy, blind] as const

/** Writes a row of the program as the tenant, and once more, which violates a key. */
const rowTwice = (id: string, text: string) =>
  Effect.flatMap(Effect.serviceOption(SqlClient.SqlClient), (client) =>
    Option.isNone(client)
      ? Effect.void
      : Effect.flatMap(Tenant.CurrentTenant, (tenantId) => {
          const insert = client.value`insert into notes ${client.value.insert({ tenant_id: tenantId, id, text })}`
          return Effect.exit(
            PgTenant.transaction(Effect.andThen(insert, insert)).pipe(
              Effect.provideService(SqlClient.SqlClient, client.value)
            )
          )
        })
  )

type Program =
  | TenantIsolationSuite.Services
  | ProjectionManager.ProjectionManager
  | ProjectionRunner.ProjectionRunner
  | Tenant.CurrentTenant

/** The actions of a tenant, with their outcomes. */
const life = (text: string, id: string, eventId: Event.EventId) =>
  Effect.gen(function* () {
    const repository = yield* Repository
    const store = yield* EventStore.EventStore
    const projections = yield* ProjectionManager.ProjectionManager
    const { drain } = yield* ProjectionRunner.ProjectionRunner
    const attempts: ReadonlyArray<Effect.Effect<unknown, unknown, Program>> = [
      append(
        { _tag: "Attached", json: { [text]: [text] } },
        { stream: id, eventId, actor: text, metadata: { [text]: text } }
      ).pipe(EventContext.provide({ correlationId: text, causationId: text })),
      write(text, { stream: id }),
      // repeated with other content
      write(text, { stream: id, eventId }),
      write(text, { stream: id, expected: 99 }),
      write(`${text}\0`, { stream: id }),
      write(text.repeat(100_000), { stream: id }),
      append({ _tag: "Measured", value: Number.NaN }, { stream: id, actor: text }),
      repository.execute(Note, id, () => [noted(text)]),
      repository.execute(Note, id, () => Effect.fail(new CannotNote())),
      repository.load(Note, `${id} nobody's`),
      Stream.runCollect(store.readStream({ aggregate: Blind, id })),
      Subscription.log({ aggregates: [Note] }).pipe(Stream.take(2), Stream.runCollect),
      Subscription.log({ aggregates: [Note], after: 1000 }).pipe(Stream.runCollect),
      rowTwice(id, text),
      drain,
      ...all.map((projection) => projections.status(projection)),
      ...all.map((projection) => Stream.runCollect(projections.deadLetters(projection))),
      projections.replayDeadLetters(poisoned),
      projections.awaitPosition(blind, 1, { timeout: "10 millis" }),
      projections.discardDeadLetter(healthy, 1, text)
    ]
    return yield* Effect.forEach(attempts, (attempt) => Effect.exit(attempt)).pipe(Effect.withSpan("life"))
  })

/** The actions of another tenant, with ids that it has seen somewhere. */
const curiosity = (id: string, eventId: Event.EventId) =>
  Effect.gen(function* () {
    const repository = yield* Repository
    const registry = yield* TenantRegistry
    const projections = yield* ProjectionManager.ProjectionManager
    const attempts: ReadonlyArray<Effect.Effect<unknown, unknown, Program>> = [
      observe,
      read(id),
      log(),
      write("mine", { stream: id, expected: "streamExists" }),
      write("mine", { stream: id, eventId }),
      write("other", { stream: id, eventId }),
      repository.load(Note, id),
      repository.execute(Note, id, ({ texts }) => [noted(`${texts.length}`)]),
      rowTwice(id, "mine"),
      registry.status,
      ...all.map((projection) => projections.status(projection)),
      ...all.map((projection) => Stream.runCollect(projections.deadLetters(projection))),
      projections.replayDeadLetters(poisoned),
      projections.discardDeadLetter(poisoned, 1, "curious"),
      registry.suspend(yield* Tenant.CurrentTenant).pipe(acrossTenants),
      write("suspended"),
      registry.resume(yield* Tenant.CurrentTenant).pipe(acrossTenants)
    ]
    return yield* Effect.forEach(attempts, (attempt) => Effect.exit(attempt))
  })

/** Announcements on another connection, if there are others. */
const announcements = Effect.flatMap(Effect.serviceOption(PgClient.PgClient), (client) =>
  Option.isNone(client) || client.value.config.stream !== undefined
    ? Effect.undefined
    : client.value.listen("eventsourcing")
)

const running = Layer.merge(
  ProjectionManager.layer,
  ProjectionRunner.layer({ projections: all, concurrency: 0 })
)

describe.each([memory, ...databases])("a whole program on $name", ({ layer }) => {
  it.live(
    "14, 19: reveals nothing of one tenant to another, or in logs, spans, metrics and notifications",
    () =>
      Effect.gen(function* () {
        const [content, ofStream, ofEvent] = [Canary.make(), Canary.make(), Canary.make()]
        const eventId = Event.EventId.make(ofEvent.secret)
        const heard = yield* Canary.overhear(
          Effect.gen(function* () {
            const [a, b] = [yield* Tenant.generate, yield* Tenant.generate]
            const notices = yield* announcements
            yield* write("before").pipe(as(b))
            const own = yield* life(content.in("of A"), ofStream.secret, eventId).pipe(as(a))
            const others = yield* curiosity("some-id", Event.generateId()).pipe(as(b))
            // Known ids reveal nothing to it.
            const guessed = yield* curiosity(ofStream.secret, eventId).pipe(as(b))
            const said = notices === undefined ? [] : yield* Queue.takeAll(notices)
            return { a, own, others, guessed, said }
          }).pipe(
            Effect.scoped,
            Effect.provide(running.pipe(Layer.provideMerge(TenantIsolationSuite.layer(layer))), {
              local: true
            })
          )
        )
        const { exit, logs, metrics, spans } = heard
        if (exit._tag === "Failure") return assert.fail(String(exit.cause))
        const { a, guessed, others, own, said } = exit.value
        // The search finds the secrets where they must be.
        for (const canary of [content, ofStream, ofEvent, Canary.of(a)])
          assert.isNotEmpty(Canary.find(canary, own))
        for (const heardOf of [logs, metrics, spans]) assert.isAbove(heardOf.length, 0)

        Canary.assertAbsent([content, ofStream, ofEvent, Canary.of(a)], { others, said })
        Canary.assertAbsent([content, Canary.of(a)], guessed)
        Canary.assertAbsent(content, { logs, metrics, spans })
        // Only errors name the stream and the event, and spans that fail with one.
        const unfailed = spans.map(({ attributes, kind, links, name }) => ({ attributes, kind, links, name }))
        Canary.assertAbsent([ofStream, ofEvent], { logs, metrics, unfailed })
      })
  )
})
