/**
 * Records of a key vault in a file, which several processes of one machine may share.
 *
 * The file is a journal of lines that are only appended (`journal.ts`). Before an operation a process reads the lines that others have
 * appended; the order of lines decides who was first. So no lock is needed, and none is left behind by a killed process. The
 * only bytes that change are those of destroyed keys, and the length that the file says it has.
 */
import {
  ByteSize,
  Effect,
  FileSystem,
  Option,
  type PlatformError,
  Result,
  type Scope,
  Semaphore
} from "effect"
import * as Base64Url from "effect/encoding/Base64Url"
import { type Entry, type Line, lengthIn, lengthText, lineOf, parseLines, wiped } from "./journal.ts"
import type { Owner } from "./keyRecords.ts"
import type { StoredRecords } from "./openVault.ts"
import { TenantKeys } from "./tenantKeys.ts"
import { failed } from "./vaultFailures.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"

/** The bytes of a wrapped key in the file. */
type Range = Pick<Line, "start" | "end">

const operation = "use the file of the key vault"

const ofPlatform =
  (path: string) =>
  <A, R>(effect: Effect.Effect<A, PlatformError.PlatformError, R>): Effect.Effect<A, StorageUnavailable, R> =>
    Effect.mapError(effect, ({ reason }) =>
      failed(
        operation,
        reason._tag,
        reason._tag !== "NotFound",
        reason._tag === "NotFound"
          ? `${path} is not there: restore it from its backup, or create a vault with createIfMissing if nothing was ever sealed`
          : `${path} cannot be read or written: look at its rights and at the room on its disk`
      )
    )

const bytesOf = (wrapped: string): Uint8Array =>
  Result.getOrElse(Base64Url.decode(wrapped), () => new Uint8Array())

/** Opens the records of a file. `makeCheck` is for a new file. */
export const fileRecords = <R>(
  path: string,
  makeCheck: Effect.Effect<Uint8Array, StorageUnavailable, R> | undefined
): Effect.Effect<StoredRecords, StorageUnavailable, FileSystem.FileSystem | Scope.Scope | R> =>
  Effect.gen(function* () {
    const files = yield* FileSystem.FileSystem
    const checked = ofPlatform(path)
    // Without this look, opening it to append would create it.
    if (makeCheck === undefined || (yield* checked(files.exists(path)))) yield* checked(files.stat(path))
    const appender = yield* checked(files.open(path, { flag: "a", mode: 0o600 }))
    const editor = yield* checked(files.open(path, { flag: "r+" }))
    const opened = yield* checked(editor.stat)

    const tenants = new Map<TenantId, TenantKeys>()
    const of = (tenantId: TenantId): TenantKeys => {
      let keys = tenants.get(tenantId)
      if (keys === undefined) tenants.set(tenantId, (keys = new TenantKeys()))
      return keys
    }
    /** The wrapped forms of each key. */
    const ranges = new Map<string, Array<Range>>()
    let doomed: Array<Range> = []
    let position = 0
    const vault: { check: Uint8Array | undefined; length: Line | undefined } = {
      check: undefined,
      length: undefined
    }

    const doom = (keyIds: Iterable<string>): void => {
      for (const keyId of keyIds) {
        doomed.push(...(ranges.get(keyId) ?? []))
        ranges.delete(keyId)
      }
    }

    /**
     * Keeps the bytes of a key. Only an entry that destroys it leads to their overwriting: a key that is not accepted stays, because a
     * line before it may be missing.
     */
    const track = (line: Line, keyId: string): void => {
      if (line.wrapped !== "") ranges.set(keyId, [...(ranges.get(keyId) ?? []), line])
    }

    const apply = (line: Line): void => {
      const { entry, wrapped } = line
      if (entry._tag === "Vault") {
        vault.check ??= bytesOf(wrapped)
        return
      }
      if (entry._tag === "Length") {
        vault.length ??= line
        return
      }
      const keys = of(entry.tenantId)
      switch (entry._tag) {
        case "WrappingKey": {
          keys.addWrappingKey({ keyId: entry.keyId, wrapped: bytesOf(wrapped) }, entry.follows ?? undefined)
          return track(line, entry.keyId)
        }
        case "DroppedWrappingKeys":
          return doom(keys.dropWrappingKeys(entry.keyIds))
        case "DataKey": {
          const { follows, keyId, kind, name, wrappedBy } = entry
          keys.add({
            keyId,
            owner: { kind, name },
            follows: follows ?? undefined,
            wrappedBy,
            wrapped: bytesOf(wrapped)
          })
          return track(line, keyId)
        }
        case "Rewrapped": {
          const { keyId, wrappedBy } = entry
          const outcome = keys.rewrap({ keyId, wrappedBy, wrapped: bytesOf(wrapped) })
          if (outcome === "rewrapped") doom([keyId])
          track(line, keyId)
          return outcome === "destroyed" ? doom([keyId]) : undefined
        }
        case "Fence": {
          const { _tag, tenantId: _tenantId, ...fence } = entry
          keys.fence(fence)
          return
        }
        case "DestroyedKeys":
          return keys.addDestroyed(entry.keyIds)
        case "Destroyed":
          return doom(keys.destroy(entry.forgetting))
        case "Allowed":
          return keys.allow(entry.subject, entry.allowedAt)
        case "Erased":
          return doom([...keys.wrappingKeys().map(({ keyId }) => keyId), ...keys.erase()])
      }
    }

    /** Overwrites the keys that are destroyed. Doing it again changes nothing. */
    const wipe = Effect.gen(function* () {
      if (doomed.length === 0) return
      for (const { end, start } of doomed) {
        yield* checked(editor.seek(BigInt(start), "start"))
        yield* checked(editor.writeAll(new Uint8Array(end - start).fill(wiped)))
      }
      yield* checked(editor.sync)
      doomed = []
    })

    /** Reads the lines that were appended since the last time. */
    const refresh = Effect.gen(function* () {
      const present = yield* checked(files.stat(path))
      const size = Number(ByteSize.toBigInt(present.size))
      const isOther =
        Option.isSome(present.ino) && Option.isSome(opened.ino) && present.ino.value !== opened.ino.value
      if (isOther || size < position)
        return yield* failed(
          operation,
          "Replaced",
          false,
          `${path} was replaced or cut off while it was in use: restore the newest one, and start the program again`
        )
      if (size > position) {
        const bytes = new Uint8Array(size - position)
        let filled = 0
        while (filled < bytes.length) {
          const count = yield* checked(
            editor.read(bytes.subarray(filled), { position: BigInt(position + filled) })
          )
          if (count === 0) break
          filled += count
        }
        const parsed = parseLines(bytes.subarray(0, filled), position)
        if (parsed.damagedAt !== undefined)
          return yield* failed(
            operation,
            "Damaged",
            false,
            `${path} is damaged at byte ${parsed.damagedAt}: restore it from its backup; nothing was changed`
          )
        for (const line of parsed.lines) apply(line)
        position += parsed.bytes
      }
      yield* wipe
    })

    const append = Effect.fnUntraced(function* (lines: ReadonlyArray<Uint8Array>) {
      const length = lines.reduce((sum, line) => sum + line.length, 0)
      const bytes = new Uint8Array(length)
      let at = 0
      for (const line of lines) {
        bytes.set(line, at)
        at += line.length
      }
      yield* checked(Effect.andThen(appender.writeAll(bytes), appender.sync))
      yield* refresh
      if (vault.length === undefined) return
      // Without it the file says that it is shorter than it is, which is no error.
      yield* Effect.ignore(
        Effect.andThen(
          editor.seek(BigInt(vault.length.start), "start"),
          editor.writeAll(new TextEncoder().encode(lengthText(position)))
        )
      )
    })

    yield* refresh
    const size = Number(ByteSize.toBigInt((yield* checked(editor.stat)).size))
    if (vault.length !== undefined && size < lengthIn(vault.length.wrapped))
      return yield* failed(
        operation,
        "CutOff",
        false,
        `${path} has ${size} bytes, and had ${lengthIn(vault.length.wrapped)} before: its end is missing, so restore it from its backup; nothing was changed`
      )
    if (vault.check === undefined && makeCheck !== undefined)
      yield* append([
        lineOf({ _tag: "Vault", format: 1 }, Base64Url.encode(yield* makeCheck)),
        lineOf({ _tag: "Length" }, lengthText(0))
      ])
    const { check } = vault
    if (check === undefined)
      return yield* failed(
        operation,
        "NoVault",
        false,
        `${path} has no key vault: give the path of one, restore it from its backup, or create one with createIfMissing if nothing was ever sealed`
      )

    const mutex = yield* Semaphore.make(1)
    // Not interrupted, because a line that is half written would be ignored although the vault goes on.
    const alone = <A>(effect: Effect.Effect<A, StorageUnavailable>): Effect.Effect<A, StorageUnavailable> =>
      Effect.uninterruptible(mutex.withPermit(effect))
    const read = <A>(
      tenantId: TenantId,
      run: (keys: TenantKeys) => A
    ): Effect.Effect<A, StorageUnavailable> => alone(Effect.map(refresh, () => run(of(tenantId))))
    const write = <A>(
      tenantId: TenantId,
      entries: ReadonlyArray<readonly [entry: Entry, wrapped?: Uint8Array]>,
      run: (keys: TenantKeys) => A
    ): Effect.Effect<A, StorageUnavailable> =>
      alone(
        Effect.map(
          append(
            entries.map(([entry, wrapped]) =>
              lineOf(entry, wrapped === undefined ? "" : Base64Url.encode(wrapped))
            )
          ),
          () => run(of(tenantId))
        )
      )

    return {
      check,
      wrappingKeys: (tenantId) => read(tenantId, (keys) => keys.wrappingKeys()),
      addWrappingKey: (tenantId, key, follows) =>
        write(
          tenantId,
          [[{ _tag: "WrappingKey", tenantId, keyId: key.keyId, follows: follows ?? null }, key.wrapped]],
          (keys) => keys.wrappingKeys().at(-1) ?? key
        ),
      dropWrappingKeys: (tenantId) =>
        Effect.flatMap(
          read(tenantId, (keys) => keys.wrappingKeys().map(({ keyId }) => keyId)),
          (keyIds) => write(tenantId, [[{ _tag: "DroppedWrappingKeys", tenantId, keyIds }]], () => undefined)
        ),
      current: (tenantId, owners) =>
        read(tenantId, (keys) => owners.map((owner: Owner) => keys.current(owner))),
      add: (tenantId, added) =>
        write(
          tenantId,
          added.map(({ follows, keyId, owner, wrapped, wrappedBy }) => [
            { _tag: "DataKey", tenantId, ...owner, keyId, follows: follows ?? null, wrappedBy },
            wrapped
          ]),
          (keys) => added.map(({ owner }) => keys.current(owner))
        ),
      addDestroyed: (tenantId, keyIds) =>
        write(tenantId, [[{ _tag: "DestroyedKeys", tenantId, keyIds }]], () => undefined),
      find: (tenantId, keyIds) => read(tenantId, (keys) => keyIds.map((keyId) => keys.find(keyId))),
      all: (tenantId) => read(tenantId, (keys) => keys.all()),
      wrappedByOthers: (tenantId, keyId) => read(tenantId, (keys) => keys.wrappedByOthers(keyId)),
      rewrap: (tenantId, rewrapped) =>
        write(
          tenantId,
          rewrapped.map(({ keyId, wrapped, wrappedBy }) => [
            { _tag: "Rewrapped", tenantId, keyId, wrappedBy },
            wrapped
          ]),
          () => undefined
        ),
      fence: (tenantId, fence) =>
        write(tenantId, [[{ _tag: "Fence", tenantId, ...fence }]], (keys) => keys.fence(fence)),
      destroy: (tenantId, forgetting) =>
        write(tenantId, [[{ _tag: "Destroyed", tenantId, forgetting }]], () => undefined),
      fences: (tenantId, after) => read(tenantId, (keys) => keys.fencesAfter(after)),
      allow: (tenantId, subject, allowedAt) =>
        write(tenantId, [[{ _tag: "Allowed", tenantId, subject, allowedAt }]], () => undefined),
      erase: (tenantId) => write(tenantId, [[{ _tag: "Erased", tenantId }]], () => undefined)
    }
  })
