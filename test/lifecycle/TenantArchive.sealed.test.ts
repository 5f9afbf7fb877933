/** Archives of tenants with personal fields: as they are stored, with and without keys, into the same and another tenant. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted, Stream } from "effect"
import * as Base64Url from "effect/encoding/Base64Url"
import { AdministrationStorage } from "../../src/driver/AdministrationStorage.ts"
import { EventStorage } from "../../src/driver/EventStorage.ts"
import * as Tenant from "../../src/domain/Tenant.ts"
import * as TenantArchive from "../../src/lifecycle/TenantArchive.ts"
import * as MemoryStorage from "../../src/memory/MemoryStorage.ts"
import * as HashChain from "../../src/store/HashChain.ts"
import {
  changeSubject,
  forgottenSubjects,
  listedSubjects,
  rawEvents,
  record
} from "../../src/testing/driver/administrationKit.ts"
import { append, events, newTenant, stream } from "../../src/testing/driver/eventKit.ts"
import { flipped } from "../../src/testing/failures.ts"
import * as archives from "../support/archives.ts"
import { backends } from "../support/backends.ts"
import {
  by,
  gone,
  nameOf,
  newVault,
  on,
  processOn,
  read,
  root,
  type Storages,
  write
} from "../support/persons.ts"

const administer = Tenant.provideAdministration({ actor: "tests", reason: "archives" })

const exported = (tenantId: Tenant.TenantId, keys?: TenantArchive.ExportKeys) =>
  administer(Stream.runCollect(TenantArchive.exportFiles({ tenantId, keys })))

const imported = (files: archives.Files, options: TenantArchive.ImportOptions = {}) =>
  administer(TenantArchive.importFiles(archives.stream(files), options))

/** The segments, which do not depend on the time of the export. */
const segmentsOf = (files: archives.Files) =>
  files.slice(1, -1).map((file) => [file.name, archives.textOf(file)])

const newStorages = Layer.build(Layer.fresh(MemoryStorage.layer))

const kept = "Grace"

/** A tenant with persons: two that are kept, one forgotten, one forgotten and allowed again, one held. */
const populated = Effect.fnUntraced(function* (storages: Context.Context<Storages>) {
  const vault = yield* newVault
  const process = yield* processOn(storages, vault)
  const tenantId = newTenant()
  yield* write(process, tenantId, kept)
  yield* on(storages)(Effect.flatMap(EventStorage, (storage) => storage.startHashChain(tenantId)))
  const tag = yield* process.index.tag("email", "grace@example.com").pipe(Tenant.provide(tenantId))
  yield* write(process, tenantId, kept, [tag])
  for (const subject of ["Ada", "Bob", "Cyd"]) yield* write(process, tenantId, subject)
  const { forget } = process.forgetting
  for (const subject of ["Ada", "Bob"]) yield* by(tenantId)(forget(subject, { reason: "request" }))
  yield* by(tenantId)(process.forgetting.allowAgain("Bob"))
  yield* write(process, tenantId, "Bob")
  yield* by(tenantId)(process.forgetting.hold("Cyd", "lawsuit"))
  return { vault, process, tenantId, tag }
})

/** Checks that a process shows the persons as they were when the tenant was exported. */
const shows = Effect.fnUntraced(function* (
  process: Effect.Success<ReturnType<typeof processOn>>,
  tenantId: Tenant.TenantId
) {
  assert.deepStrictEqual(yield* read(process, tenantId, kept), [nameOf(kept), nameOf(kept)])
  assert.deepStrictEqual(yield* read(process, tenantId, "Ada"), [gone])
  assert.deepStrictEqual(yield* read(process, tenantId, "Bob"), [gone, nameOf("Bob")])
  assert.deepStrictEqual(yield* read(process, tenantId, "Cyd"), [nameOf("Cyd")])
  const refused = yield* flipped(write(process, tenantId, "Ada"))
  assert.containSubset(refused, { _tag: "InvalidEvent", path: ["payload", "name"] })
  const held = yield* flipped(by(tenantId)(process.forgetting.forget("Cyd", { reason: "request" })))
  assert.containSubset(held, { _tag: "SubjectHeld", reason: "lawsuit" })
  yield* write(process, tenantId, "Bob")
})

const carried = (tenantId: Tenant.TenantId) =>
  Effect.all([rawEvents(tenantId), listedSubjects(tenantId), forgottenSubjects(tenantId, 0)])

for (const backend of backends.filter(({ name }) => name !== "PGlite")) {
  layer(backend.layer, { excludeTestServices: true })(
    `an archive with sealed fields, on ${backend.name}`,
    (it) => {
      const storages = Effect.context<Storages>()

      it.effect("goes into the same tenant as it is, also without keys, and forgotten subjects stay so", () =>
        Effect.gen(function* () {
          const here = yield* storages
          const { process, tenantId, vault } = yield* populated(here)
          const files = yield* exported(tenantId)
          const manifest = yield* TenantArchive.verifyFiles(archives.stream(files))
          assert.containSubset(manifest, { sealed: true, sealedEvents: 6, keys: null, forgotten: 2 })
          const before = yield* carried(tenantId)
          const there = yield* newStorages
          yield* on(there)(imported(files))
          assert.deepStrictEqual(yield* on(there)(carried(tenantId)), before)
          assert.deepStrictEqual(segmentsOf(yield* on(there)(exported(tenantId))), segmentsOf(files))
          yield* shows(yield* processOn(there, vault), tenantId)
          // the origin is what it was
          yield* shows(process, tenantId)
        }).pipe(Effect.scoped)
      )

      it.effect("takes its keys to another vault, wrapped, and changes no text", () =>
        Effect.gen(function* () {
          const { tenantId, vault } = yield* populated(yield* storages)
          const files = yield* exported(tenantId, { vault, root: root("a") })
          const [, keys] = files
          assert.match(keys?.name ?? "", /^05-keys-/)
          const text = archives.textOf(keys ?? assert.fail("no keys"))
          for (const { secret } of yield* vault.exportKeys({ tenantId })) {
            const [encryption, nonces] = [
              Redacted.value(secret).slice(0, 32),
              Redacted.value(secret).slice(32)
            ]
            for (const part of [encryption, nonces]) {
              assert.notInclude(text, Base64Url.encode(part).slice(0, 40))
              assert.notInclude(text, Buffer.from(part).toString("hex"))
            }
          }
          const there = yield* newStorages
          const other = yield* newVault
          yield* on(there)(imported(files, { keys: { vault: other, root: root("a") } }))
          assert.deepStrictEqual(
            segmentsOf(yield* on(there)(exported(tenantId))),
            segmentsOf(yield* exported(tenantId))
          )
          yield* vault.eraseTenant({ tenantId })
          yield* shows(yield* processOn(there, other), tenantId)
        }).pipe(Effect.scoped)
      )

      it.effect("is sealed anew for another tenant, which needs no key of the origin", () =>
        Effect.gen(function* () {
          const here = yield* storages
          const { process, tag, tenantId, vault } = yield* populated(here)
          const files = yield* exported(tenantId, { vault, root: root("a") })
          const into = newTenant()
          const keys = { vault, root: root("a") }
          // killed behind the events, and run again
          yield* flipped(imported(files.slice(0, -1), { into, keys }))
          const { head } = yield* imported(files, { into, keys })
          assert.strictEqual((yield* HashChain.verify().pipe(Tenant.provide(into))).head?.hash, head?.hash)
          const [before, after] = [yield* rawEvents(tenantId), yield* rawEvents(into)]
          const keyIds = (rows: typeof before) =>
            rows.flatMap(({ payload }) => Array.from(payload.matchAll(/"key":"([^"]+)"/g), ([, id]) => id))
          assert.deepStrictEqual(
            keyIds(after).filter((id) => keyIds(before).includes(id)),
            []
          )
          assert.lengthOf(keyIds(after), 4)
          assert.deepStrictEqual((yield* listedSubjects(into)).rows, (yield* listedSubjects(tenantId)).rows)
          yield* vault.eraseTenant({ tenantId })
          const next = yield* processOn(here, vault)
          assert.strictEqual(
            yield* next.index.tag("email", "grace@example.com").pipe(Tenant.provide(into)),
            tag
          )
          assert.strictEqual(yield* by(into)(next.forgetting.catchUp), 0)
          yield* shows(next, into)
          yield* by(into)(next.forgetting.forget(kept, { reason: "request" }))
          for (const one of [next, process])
            assert.deepStrictEqual(yield* read(one, into, kept), [gone, gone])
        }).pipe(Effect.scoped)
      )

      it.effect("is refused before the first row, if another tenant could not open it", () =>
        Effect.gen(function* () {
          const here = yield* storages
          const { process, tenantId, vault } = yield* populated(here)
          const into = newTenant()
          const refusal = (files: archives.Files, keys?: TenantArchive.ImportKeys) =>
            Effect.map(flipped(imported(files, { into, keys })), (error) =>
              error._tag === "SealedArchive" ? error.reason : error
            )
          const without = yield* exported(tenantId)
          const withKeys = yield* exported(tenantId, { vault, root: root("a") })
          assert.strictEqual(yield* refusal(without), "noKeys")
          assert.strictEqual(yield* refusal(without, { vault, root: root("a") }), "noKeys")
          assert.strictEqual(yield* refusal(withKeys), "noVault")
          assert.strictEqual(yield* refusal(withKeys, { vault }), "wrongRoot")
          assert.strictEqual(yield* refusal(withKeys, { vault, root: root("b") }), "wrongRoot")
          // also if the first sealed field comes late
          const late = newTenant()
          yield* append(late, stream("one", events(100)))
          yield* write(process, late, kept)
          assert.strictEqual(yield* refusal(yield* exported(late)), "noKeys")
          assert.isUndefined(yield* record(into))
          // without sealed fields there is nothing to open
          const plain = newTenant()
          yield* append(plain, stream("one", events(3)))
          yield* imported(yield* exported(plain), { into })
          assert.strictEqual((yield* record(into))?.position, 3)
        }).pipe(Effect.scoped)
      )

      it.effect("brings nobody back who was forgotten after it was made", () =>
        Effect.gen(function* () {
          const here = yield* storages
          const { process, tenantId, vault } = yield* populated(here)
          const files = yield* exported(tenantId, { vault, root: root("a") })
          yield* by(tenantId)(process.forgetting.forget(kept, { reason: "request" }))
          const there = yield* newStorages
          yield* on(there)(imported(files, { keys: { vault, root: root("a") } }))
          const restored = yield* processOn(there, vault)
          assert.deepStrictEqual(yield* read(restored, tenantId, kept), [gone, gone])
          assert.deepStrictEqual(yield* read(restored, tenantId, "Cyd"), [nameOf("Cyd")])
          const forgotten = (yield* on(there)(rawEvents(tenantId))).filter(
            ({ eventType }) => eventType === "SubjectForgotten"
          )
          assert.deepStrictEqual(
            forgotten.map(({ aggregateId }) => aggregateId),
            ["Ada", "Bob", kept]
          )
        }).pipe(Effect.scoped)
      )

      it.effect("ends before a person that is being forgotten while it is made, who is forgotten again", () =>
        Effect.gen(function* () {
          const here = yield* storages
          const { process, tenantId, vault } = yield* populated(here)
          // the archive ends where the log ends when its first file is made
          const files = yield* administer(
            Stream.runCollect(
              Stream.tap(TenantArchive.exportFiles({ tenantId }), ({ name }) =>
                Effect.asVoid(
                  Effect.when(
                    by(tenantId)(process.forgetting.forget(kept, { reason: "request" })),
                    Effect.sync(() => name.startsWith("00-"))
                  )
                )
              )
            )
          )
          const there = yield* newStorages
          yield* on(there)(imported(files))
          const { rows } = yield* on(there)(listedSubjects(tenantId))
          const row = rows.find(({ subject }) => subject === kept)
          assert.isUndefined(row?.forgotten)
          assert.isDefined(row?.begun)
          const restored = yield* processOn(there, vault)
          assert.deepStrictEqual(yield* read(restored, tenantId, kept), [gone, gone])
          assert.deepStrictEqual(
            (yield* on(there)(rawEvents(tenantId))).map(({ eventId }) => eventId),
            (yield* rawEvents(tenantId)).map(({ eventId }) => eventId)
          )
        }).pipe(Effect.scoped)
      )

      it.effect("is not made, and not taken, with a vault that never had its keys", () =>
        Effect.gen(function* () {
          const { tenantId, vault } = yield* populated(yield* storages)
          const empty = yield* newVault
          const missing = yield* flipped(exported(tenantId, { vault: empty, root: root("a") }))
          assert.containSubset(missing, { _tag: "StorageUnavailable", reason: { _tag: "KeyMissing" } })
          const files = yield* exported(tenantId, { vault, root: root("a") })
          const there = yield* newStorages
          const lost = yield* flipped(on(there)(imported(files, { keys: { vault: empty } })))
          assert.containSubset(lost, { _tag: "StorageUnavailable", reason: { _tag: "KeyMissing" } })
          assert.strictEqual((yield* on(there)(record(tenantId)))?.position, 0)
          yield* on(there)(imported(files, { keys: { vault: empty, root: root("a") } }))
        }).pipe(Effect.scoped)
      )

      it.effect("goes on after it was killed before or after any call", () =>
        Effect.gen(function* () {
          const here = yield* storages
          const { process, tenantId, vault } = yield* populated(here)
          const files = yield* exported(tenantId, { vault, root: root("a") })
          const killed = yield* flipped(exported(newTenant()))
          for (const behind of [false, true])
            for (let killAt = 1, isOver = false; !isOver; killAt++) {
              const into = newTenant()
              let calls = 0
              const guard = <S extends object>(service: S): S =>
                new Proxy(service, {
                  get: (target, name, receiver) => {
                    const member: unknown = Reflect.get(target, name, receiver)
                    if (typeof member !== "function") return member
                    return (...given: ReadonlyArray<unknown>) => {
                      const effect: unknown = Reflect.apply(member, target, given)
                      if (!Effect.isEffect(effect)) return effect
                      return Effect.suspend(() => {
                        if (++calls !== killAt) return effect
                        return behind ? Effect.andThen(effect, Effect.fail(killed)) : Effect.fail(killed)
                      })
                    }
                  }
                })
              const exit = yield* Effect.exit(
                imported(files, { into, keys: { vault: guard(vault), root: root("a") } }).pipe(
                  Effect.provideService(
                    AdministrationStorage,
                    guard(Context.get(here, AdministrationStorage))
                  )
                )
              )
              isOver = Exit.isSuccess(exit)
              if (!isOver) yield* imported(files, { into, keys: { vault, root: root("a") } })
              assert.deepStrictEqual(yield* read(process, into, kept), [nameOf(kept), nameOf(kept)])
              assert.deepStrictEqual(yield* read(process, into, "Ada"), [gone])
              assert.strictEqual((yield* forgottenSubjects(into)).forgotten, 2)
              assert.isBelow(killAt, 30)
            }
        }).pipe(Effect.scoped)
      )

      it.effect("is refused if one of its keys or fields was changed or moved", () =>
        Effect.gen(function* () {
          const { tenantId, vault } = yield* populated(yield* storages)
          const rows = yield* rawEvents(tenantId)
          const sealed = yield* exported(tenantId, { vault, root: root("a") })
          const header = JSON.parse(archives.textOf(sealed[0] ?? assert.fail())) as {
            readonly archiveId: string
            readonly keys: { readonly wrapped: string }
          }
          const lines = archives
            .textOf(sealed[1] ?? assert.fail())
            .split("\n")
            .slice(0, -2)
          const made = (keys: ReadonlyArray<string>, changed = rows) =>
            archives.archiveOf([changed.map((row) => ({ ...row, hash: null }))], {
              archiveId: header.archiveId,
              keys: header.keys,
              tenantId,
              others: { keys }
            })
          const [first, second] = rows
          const swapped =
            first === undefined ? [] : rows.with(0, { ...first, payload: second?.payload ?? "" })
          const wrapped = lines.map((line) => /"wrapped":"([^"]+)"/.exec(line)?.[1] ?? "")
          const exchanged = lines.map((line, index) =>
            line.replace(/"wrapped":"[^"]+"/, `"wrapped":"${wrapped.at(index - 1)}"`)
          )
          const outcome = (files: archives.Files) =>
            Effect.map(
              Effect.result(imported(files, { into: newTenant(), keys: { vault, root: root("a") } })),
              (result) =>
                result._tag === "Success"
                  ? "imported"
                  : "reason" in result.failure
                    ? result.failure.reason
                    : result.failure._tag
            )
          assert.strictEqual(yield* outcome(yield* made(lines)), "imported")
          assert.strictEqual(yield* outcome(yield* made(lines, swapped)), "broken")
          assert.strictEqual(yield* outcome(yield* made(exchanged)), "broken")
        }).pipe(Effect.scoped)
      )

      it.effect("carries subjects of a tenant without sealed fields, too", () =>
        Effect.gen(function* () {
          const tenantId = newTenant()
          yield* append(tenantId, stream("one", events(1)))
          yield* changeSubject(tenantId, "Zoë 🦊", { change: "hold", reason: "lawsuit" })
          const into = newTenant()
          yield* imported(yield* exported(tenantId), { into })
          assert.deepStrictEqual((yield* listedSubjects(into)).rows, (yield* listedSubjects(tenantId)).rows)
        })
      )
    }
  )
}
