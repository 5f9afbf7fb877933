/** Tenants are exported and imported on every backend and between them. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Context, Effect, Layer, Result, Schema, Stream } from "effect"
import { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import { EventStorage, type EventRow } from "../../src/driver/EventStorage.ts"
import { OtherFailure, StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantArchive from "../../src/lifecycle/TenantArchive.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as HashChain from "../../src/store/HashChain.ts"
import { event, newTenant, readLog, request, stream } from "../../src/testing/driver/eventKit.ts"
import { jsonProblem } from "../../src/internal/json.ts"
import { flipped } from "../../src/testing/failures.ts"
import * as archives from "../support/archives.ts"
import { type Backend, backends, everyBackend } from "../support/backends.ts"

type Services = AdministrationStorage | EventStorage

const administer = Tenant.provideAdministration({ actor: "tests", reason: "archives" })

const exported = (tenantId: Tenant.TenantId, compression?: TenantArchive.Compression) =>
  administer(Stream.runCollect(TenantArchive.exportFiles({ tenantId, compression })))

const imported = (files: archives.Files, options: TenantArchive.ImportOptions = {}) =>
  administer(TenantArchive.importFiles(archives.stream(files), options))

const recordOf = (tenantId: Tenant.TenantId) =>
  administer(
    Effect.gen(function* () {
      const storage = yield* AdministrationStorage
      const accessId = yield* storage.recordAccess({ actor: "tests", reason: "look", operation: "look" })
      return yield* storage.tenant({ accessId, tenantId })
    })
  )

const statusOf = (tenantId: Tenant.TenantId) =>
  Effect.map(recordOf(tenantId), (record) => record?.state.status)

const rowsOf = (tenantId: Tenant.TenantId) => Effect.map(readLog(tenantId), ({ rows }) => rows)

/** The segments, which do not depend on the time of the export. */
const segmentsOf = (files: archives.Files): ReadonlyArray<readonly [string, string]> =>
  files.slice(1, -1).map((file) => [file.name, archives.textOf(file)])

/** Appends events with odd values, the second half with hashes. */
const oddTenant = Effect.fnUntraced(function* () {
  const storage = yield* EventStorage
  const tenantId = newTenant()
  const rows = archives.oddRows(tenantId)
  const append = ({ aggregateId, aggregateType, payload, ...row }: EventRow) =>
    storage.append(
      request(tenantId, {
        aggregateType,
        aggregateId,
        expectedVersion: "any",
        events: [
          event({
            eventType: row.eventType,
            schemaVersion: row.schemaVersion,
            occurredAt: row.occurredAt,
            actor: row.actor,
            correlationId: row.correlationId,
            causationId: row.causationId,
            metadata: row.metadata,
            payload,
            tags: row.tags,
            ...(row.traceparent === null ? {} : { traceparent: row.traceparent })
          })
        ]
      })
    )
  yield* Effect.forEach(rows.slice(0, 10), append)
  yield* storage.startHashChain(tenantId)
  yield* Effect.forEach(rows.slice(10), append)
  yield* storage.append({
    tenantId,
    streams: [stream("keyed", [event()])],
    command: { key: "command 1", fingerprint: "f".repeat(64), expiresInMillis: 3_600_000 }
  })
  return tenantId
})

const build = (backend: Backend) =>
  Effect.map(Layer.build(Layer.fresh(backend.layer)), (context) => ({
    name: backend.name,
    run: <A, E>(effect: Effect.Effect<A, E, Services>): Effect.Effect<A, E> =>
      Effect.provideContext(effect, context as Context.Context<Services>)
  }))

it.live(
  "an archive is byte-identical after an import elsewhere and another export, on and between all backends",
  () =>
    Effect.gen(function* () {
      const places = yield* Effect.forEach(everyBackend, build)
      const origin = places[0]
      assert.isDefined(origin)
      const tenantId = yield* origin.run(oddTenant())
      const rows = yield* origin.run(rowsOf(tenantId))
      assert.strictEqual(rows.length, 31)
      let files = yield* origin.run(exported(tenantId))
      const first = files
      // From memory through each database back to memory, and compressed on one way.
      for (const [index, place] of [
        ...places.slice(1),
        yield* build(everyBackend[0] ?? assert.fail())
      ].entries()) {
        const result = yield* place.run(imported(files))
        assert.deepStrictEqual(
          [result.written, result.known, result.head?.hash],
          [31, 0, rows.at(-1)?.hash],
          place.name
        )
        assert.deepStrictEqual(yield* place.run(rowsOf(tenantId)), rows, place.name)
        const verification = HashChain.verify().pipe(Tenant.provide(tenantId))
        assert.strictEqual((yield* place.run(verification)).events, 21)
        const again = yield* place.run(exported(tenantId))
        const withoutDurations = (list: archives.Files) =>
          segmentsOf(list).map(([name, text]) => [name, name.includes("command-keys") ? name : text])
        assert.deepStrictEqual(withoutDurations(again), withoutDurations(first), place.name)
        files = index === 0 ? yield* place.run(exported(tenantId, "gzip")) : again
        // The log goes on, with the hash and the position that follow.
        yield* place.run(
          Effect.flatMap(EventStorage, (storage) =>
            storage.append(request(tenantId, stream("keyed", [event()], 1)))
          )
        )
        yield* place.run(HashChain.verify().pipe(Tenant.provide(tenantId)))
      }
    }).pipe(Effect.scoped),
  300_000
)

describe.each(backends)("on $name", (backend) => {
  it.live(
    "imports into another tenant, with a chain of its own, and refuses a tenant that exists",
    () =>
      Effect.gen(function* () {
        const place = yield* build(backend)
        yield* place.run(
          Effect.gen(function* () {
            const tenantId = yield* oddTenant()
            const files = yield* exported(tenantId)
            const into = newTenant()
            const result = yield* imported(files, { into })
            const before = yield* rowsOf(tenantId)
            const after = yield* rowsOf(into)
            const plain = ({ hash: _hash, ...row }: EventRow) => row
            assert.deepStrictEqual(after.map(plain), before.map(plain))
            assert.notStrictEqual(after.at(-1)?.hash, before.at(-1)?.hash)
            assert.deepStrictEqual(result.origin, {
              tenantId,
              head: { position: 31, eventId: before[30]?.eventId ?? "", hash: before[30]?.hash ?? null }
            })
            assert.deepStrictEqual((yield* recordOf(into))?.origin, {
              tenantId,
              position: 31,
              eventId: before[30]?.eventId ?? "",
              hash: before[30]?.hash ?? null
            })
            const verified = yield* HashChain.verify().pipe(Tenant.provide(into))
            assert.deepStrictEqual([verified.from, verified.head?.hash], [11, result.head?.hash])
            const refused = yield* flipped(imported(files, { into: tenantId }))
            assert.deepInclude(refused, { _tag: "TenantStateConflict", status: "active" })
            assert.deepStrictEqual(yield* rowsOf(tenantId), before)
            // The command was carried out already.
            const repeated = yield* Effect.flatMap(EventStorage, (storage) =>
              storage.commandOutcome({ tenantId: into, key: "command 1" })
            )
            assert.deepInclude(repeated, { position: 31, events: 1 })
          })
        )
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "keeps a tenant in state importing, invisible, until the manifest is verified",
    () =>
      Effect.gen(function* () {
        const place = yield* build(backend)
        yield* place.run(
          Effect.gen(function* () {
            const tenantId = newTenant()
            const rows = archives.oddRows(tenantId)
            const files = yield* archives.archiveOf([rows.slice(0, 10), rows.slice(10)], { tenantId })
            const bad = archives.changing(files, {
              "10-events-000002.ndjson": archives.withText((text) =>
                text.replace('"version":4', '"version":5')
              )
            })
            const refused = yield* flipped(imported(bad))
            assert.deepInclude(refused, {
              _tag: "InvalidArchive",
              file: "10-events-000002.ndjson",
              reason: "changed"
            })
            // Nothing of the bad segment was written, and nobody sees the one before it.
            assert.deepInclude(yield* recordOf(tenantId), { position: 10 })
            assert.strictEqual(yield* statusOf(tenantId), "importing")
            const read = yield* Effect.result(rowsOf(tenantId))
            assert.deepStrictEqual(Result.isSuccess(read) ? read.success : [], [])
            assert.isTrue(
              Result.isFailure(
                yield* Effect.result(
                  Effect.flatMap(EventStorage, (storage) =>
                    storage.append(request(tenantId, stream("new", [event()])))
                  )
                )
              )
            )
            // It goes on with the right archive, but not with another one.
            const other = yield* archives.archiveOf([rows], { tenantId })
            assert.deepInclude(yield* flipped(imported(other)), {
              _tag: "TenantStateConflict",
              status: "importing"
            })
            const { known, written } = yield* imported(files)
            assert.deepStrictEqual([known, written], [10, 20])
            assert.strictEqual(yield* statusOf(tenantId), "active")
            assert.deepStrictEqual(yield* rowsOf(tenantId), rows)
          })
        )
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "abandons an import, after which the id is free",
    () =>
      Effect.gen(function* () {
        const place = yield* build(backend)
        yield* place.run(
          Effect.gen(function* () {
            const tenantId = newTenant()
            const rows = archives.oddRows(tenantId)
            const files = yield* archives.archiveOf([rows], { tenantId })
            yield* flipped(imported(files.slice(0, -1)))
            assert.strictEqual(yield* statusOf(tenantId), "importing")
            yield* administer(TenantArchive.abandonImport(tenantId))
            assert.isUndefined(yield* recordOf(tenantId))
            const other = yield* archives.archiveOf([rows.slice(0, 5)], { tenantId })
            assert.strictEqual((yield* imported(other)).written, 5)
            const refused = yield* flipped(administer(TenantArchive.abandonImport(tenantId)))
            assert.deepInclude(refused, { _tag: "TenantStateConflict", status: "active" })
          })
        )
      }).pipe(Effect.scoped),
    60_000
  )
})

describe("in memory", () => {
  const lost = new StorageUnavailable({
    reason: new OtherFailure({ operation: "test", retryable: true, code: null, remedy: "none" })
  })

  /** Lets the nth write fail: before it is carried out, or after it, so that only its answer is lost. */
  const failing = (storage: AdministrationStorage["Service"], nth: number, after: boolean) => {
    let calls = 0
    const guard = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | StorageUnavailable> =>
      Effect.suspend(() =>
        ++calls === nth ? (after ? Effect.andThen(effect, Effect.fail(lost)) : Effect.fail(lost)) : effect
      )
    return {
      storage: AdministrationStorage.of({
        ...storage,
        changeState: (given) => guard(storage.changeState(given)),
        writeEvents: (given) => guard(storage.writeEvents(given)),
        writeCommandKeys: (given) => guard(storage.writeCommandKeys(given)),
        writeDeadLetters: (given) => guard(storage.writeDeadLetters(given)),
        writeProgress: (given) => guard(storage.writeProgress(given))
      }),
      calls: () => calls
    }
  }

  const others: archives.Others = {
    "command-keys": ["a", "b"].map((key) =>
      JSON.stringify({
        key,
        fingerprint: "f".repeat(64),
        aggregateType: "Case",
        aggregateId: "id 0 🦊",
        version: 10,
        position: 30,
        events: 1,
        recordedAt: 1_700_000_000_000,
        expiresInMillis: 3_600_000
      })
    ),
    progress: [
      '{"projection":"mails","version":1,"position":20,"parked":true,"attempts":3,"failedPosition":21,"error":"no"}'
    ],
    "dead-letters": [
      '{"projection":"mails","version":1,"position":7,"eventId":"0190c5a0-0000-7000-8000-000000000007","error":"no","attempts":2,"failedAt":1700000000000,"discarded":null}',
      '{"projection":"mails","version":1,"position":8,"eventId":"0190c5a0-0000-7000-8000-000000000008","error":"no","attempts":2,"failedAt":1700000000000,"discarded":{"at":1700000000001,"reason":"known"}}'
    ]
  }

  it.live("goes on after it was killed before or after any of its writes", () =>
    Effect.gen(function* () {
      let killed = 0
      for (const after of [false, true])
        for (let nth = 1, isOver = false; !isOver; nth++) {
          const context = yield* Layer.build(Layer.fresh(MemoryStorage.layer))
          yield* Effect.gen(function* () {
            const tenantId = newTenant()
            const into = newTenant()
            const rows = archives.oddRows(tenantId)
            const files = yield* archives.archiveOf([rows.slice(0, 10), rows.slice(10, 20), rows.slice(20)], {
              tenantId,
              others
            })
            const { calls, storage } = failing(yield* AdministrationStorage, nth, after)
            const result = yield* Effect.result(
              imported(files, { into }).pipe(Effect.provideService(AdministrationStorage, storage))
            )
            isOver = calls() < nth
            if (!isOver) {
              killed++
              assert.isTrue(Result.isFailure(result), `${nth}`)
              yield* imported(files, { into })
            }
            assert.strictEqual(yield* statusOf(into), "active")
            const plain = ({ hash: _hash, ...row }: EventRow) => row
            assert.deepStrictEqual((yield* rowsOf(into)).map(plain), rows.map(plain))
            yield* HashChain.verify().pipe(Tenant.provide(into))
            const again = yield* exported(into)
            const carried = segmentsOf(again).filter(([name]) => /progress|dead/.test(name))
            assert.deepStrictEqual(
              carried.map(([, text]) => text.split("\n").slice(0, -2)),
              [others.progress, others["dead-letters"]]
            )
          }).pipe(Effect.provideContext(context))
        }
      // Begin, three segments, keys, progress, dead letters, end: twice.
      assert.strictEqual(killed, 16)
    }).pipe(Effect.scoped)
  )

  it.effect.prop(
    "gives back any JSON as its exact text",
    [Arbitrary.schema(Schema.Array(Schema.Json)), Arbitrary.schema(Schema.Boolean)],
    ([payloads, pretty]) =>
      Effect.gen(function* () {
        const storable = payloads.filter((payload) => jsonProblem(payload, 64) === undefined)
        if (storable.length === 0) return
        const tenantId = newTenant()
        const storage = yield* EventStorage
        yield* storage.append(
          request(
            tenantId,
            stream(
              "a",
              storable.map((payload) => event({ payload: JSON.stringify(payload, null, pretty ? 2 : 0) }))
            )
          )
        )
        const into = newTenant()
        yield* imported(yield* exported(tenantId), { into })
        assert.deepStrictEqual(yield* rowsOf(into), yield* rowsOf(tenantId))
      }).pipe(Effect.provide(MemoryStorage.layer)),
    { arbitrary: { runs: 50, size: 20 } }
  )

  it.effect("exports an empty tenant, and refuses an unknown one", () =>
    Effect.gen(function* () {
      const storage = yield* EventStorage
      const tenantId = newTenant()
      yield* storage.provisionTenant(tenantId)
      yield* storage.startHashChain(tenantId)
      const into = newTenant()
      const result = yield* imported(yield* exported(tenantId), { into })
      assert.deepStrictEqual([result.written, result.head], [0, undefined])
      assert.strictEqual(yield* storage.hashChainStart(into), 1)
      const unknown = yield* flipped(exported(newTenant()))
      assert.deepInclude(unknown, { _tag: "UnknownTenant" })
    }).pipe(Effect.provide(MemoryStorage.layer))
  )

  it.effect("cuts a large log into segments, of which it holds few at a time", () =>
    Effect.gen(function* () {
      const storage = yield* EventStorage
      const tenantId = newTenant()
      const text = "x".repeat(900_000)
      for (let n = 0; n < 20; n++)
        yield* storage.append(
          request(tenantId, stream("a", [event({ payload: JSON.stringify({ n, text }) })]))
        )
      const files = yield* exported(tenantId)
      assert.deepStrictEqual(
        files.map(({ name }) => name),
        ["00-archive.json", "10-events-000001.ndjson", "10-events-000002.ndjson", "99-manifest.json"]
      )
      assert.isTrue(files.every(({ bytes }) => bytes.length <= (16 << 20) + 1000))
      const into = newTenant()
      yield* administer(TenantArchive.importTar(TenantArchive.toTar(archives.stream(files)), { into }))
      assert.deepStrictEqual(segmentsOf(yield* exported(into)), segmentsOf(files))
    }).pipe(Effect.provide(MemoryStorage.layer))
  )
})
