/** A move to a database whose disk is full. Its events are on a small file system of their own, which only root may mount. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer, References } from "effect"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmdirSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { StorageFull, StorageUnavailable } from "../../src/driver/StoreError.ts"
import * as TenantMove from "../../src/lifecycle/TenantMove.ts"
import { flipped } from "../../src/testing/failures.ts"
import { servers } from "../support/Databases.ts"
import { administer } from "../support/moving.ts"
import { fill } from "../support/movingLoad.ts"
import { program, setup } from "../support/movingSilos.ts"
import type { Place } from "../support/silo.ts"

const mount = (folder: string, options: string): void =>
  void execFileSync("mount", ["-t", "tmpfs", "-o", options, "none", folder], { stdio: "ignore" })

const unmount = (folder: string): void => {
  execFileSync("umount", ["--lazy", folder], { stdio: "ignore" })
  rmdirSync(folder)
}

const newFolder = (): string => mkdtempSync(Path.join(tmpdir(), "effect-eventsourcing-disk-"))

const mayMount = ((): boolean => {
  const folder = newFolder()
  try {
    mount(folder, "size=1m")
    unmount(folder)
    return true
  } catch {
    rmdirSync(folder)
    console.warn(
      "Skipped: a move to a full disk. It mounts a small file system, which only root may on Linux."
    )
    return false
  }
})()

/** The events of a place are on a disk with one megabyte. Returns an effect that makes the disk larger. */
const onSmallDisk = ({ name, outside }: Place) =>
  Effect.gen(function* () {
    const [setting] = yield* outside<{ folder: string }>("select current_setting('data_directory') as folder")
    const { gid, uid } = statSync(setting?.folder ?? "")
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const made = newFolder()
        mount(made, `size=1m,mode=0700,uid=${uid},gid=${gid}`)
        return made
      }),
      (made) => Effect.sync(() => unmount(made))
    )
    const space = `${name}_small`
    yield* Effect.acquireRelease(outside(`create tablespace ${space} location '${folder}'`), () =>
      Effect.orDie(
        Effect.andThen(
          outside("alter table eventsourcing.events set tablespace pg_default"),
          outside(`drop tablespace ${space}`)
        )
      )
    )
    yield* outside(`alter table eventsourcing.events set tablespace ${space}`)
    return Effect.sync(() => execFileSync("mount", ["-o", "remount,size=64m", folder]))
  })

for (const server of servers)
  it.live.skipIf(!mayMount)(
    `a move on ${server.name} to a full disk is called off, and succeeds when there is room again`,
    () =>
      Effect.gen(function* () {
        const { entries, known, tenantId } = yield* setup(server)
        const [pool, silo] = [
          known.get("pool") ?? assert.fail("pool"),
          known.get("silo") ?? assert.fail("silo")
        ]
        const makeRoom = yield* onSmallDisk(silo)
        const start = TenantMove.TenantMove.use((moves) => administer(moves.start(tenantId, { to: "silo" })))
        const run = <A, E>(effect: Effect.Effect<A, E, Layer.Success<ReturnType<typeof program>>>) =>
          Effect.provide(effect, Layer.fresh(program(known, entries)))
        yield* run(fill(tenantId, 8000))
        const error = yield* flipped(run(start))
        assert.containSubset(error, { _tag: "MoveCalledOff", tenantId })
        const noRoom = new StorageUnavailable({
          reason: new StorageFull({ operation: "write events", code: "53100" })
        })
        assert.include(error.message, noRoom.message)
        const statuses = ({ outside }: Place) =>
          outside("select status from eventsourcing.tenants where tenant_id = $1", [tenantId])
        assert.deepStrictEqual(yield* statuses(pool), [{ status: "active" }])
        assert.deepStrictEqual(yield* statuses(silo), [])
        assert.deepStrictEqual(yield* silo.outside("select 1 from eventsourcing.events"), [])
        yield* makeRoom
        assert.containSubset(yield* run(start), { events: 8000, removed: true })
        assert.deepStrictEqual(yield* statuses(silo), [{ status: "active" }])
      }).pipe(Effect.scoped, Effect.provideService(References.CurrentLoggers, new Set()))
  )
