/** A storage of snapshots that seals states with personal data, over one that stores ciphertext. */
import { Effect, Schema } from "effect"
import { type Envelope, envelopeOfAll, marker } from "./envelope.ts"
import type { Keyring } from "./keyring.ts"
import type { Sealer } from "./sealer.ts"
import type {
  NewSnapshot,
  SaveSnapshot,
  SnapshotKey,
  SnapshotRow,
  SnapshotStorage
} from "../driver/SnapshotStorage.ts"
import { canonicalJson } from "../internal/canonicalJson.ts"

/** The text that is sealed: the checksum, from which the state could be guessed, and the state. */
const Content = Schema.fromJsonString(Schema.Tuple([Schema.String, Schema.String]))
const decodeContent = Schema.decodeUnknownOption(Content)

/** Stands in for the path of a field: the tenant's number of forgotten subjects when the events of the state were read. */
const Label = Schema.fromJsonString(Schema.Tuple([Schema.Literal("snapshot"), Schema.Int]))
const decodeLabel = Schema.decodeUnknownOption(Label)

/** The place of a snapshot. Its number of forgotten subjects cannot be changed without breaking the seal. */
const placeOf = (
  key: SnapshotKey,
  snapshot: Omit<NewSnapshot, "checksum" | "state">,
  label: string
): string =>
  `snapshot 1 ${canonicalJson([
    key.tenantId,
    key.aggregateType,
    key.aggregateId,
    snapshot.version,
    snapshot.position,
    snapshot.eventId,
    snapshot.recordedAt,
    snapshot.stateVersion,
    snapshot.fingerprint
  ])} ${label}`

export const makeSealedSnapshots = (
  storage: SnapshotStorage["Service"],
  keyring: Keyring,
  sealer: Sealer
): SnapshotStorage["Service"] => {
  /** The row with its state; undefined if it is of an earlier number of forgotten subjects, or was changed. */
  const opened = Effect.fnUntraced(function* (
    key: SnapshotKey,
    row: SnapshotRow,
    envelope: Envelope | undefined
  ) {
    const { tenantId } = key
    const label = envelope === undefined ? undefined : decodeLabel(envelope.path)
    if (envelope === undefined || label?._tag !== "Some") return undefined
    if (label.value[1] !== (yield* keyring.confirm(tenantId))) return undefined
    const keys = yield* keyring.byId("load a snapshot", tenantId, [envelope.keyId])
    const dataKey = keys.get(envelope.keyId)
    if (dataKey === undefined || dataKey === "destroyed") return undefined
    const text = yield* sealer.open(dataKey, placeOf(key, row, envelope.path), envelope)
    const content = text === undefined ? undefined : decodeContent(text)
    return content?._tag === "Some"
      ? { ...row, checksum: content.value[0], state: content.value[1] }
      : undefined
  })

  const save = Effect.fnUntraced(function* (snapshot: SaveSnapshot, forgotten: number) {
    const { checksum, replaces, state, tenantId } = snapshot
    // A state of an earlier number may contain data of a person who was forgotten since.
    if (forgotten !== (yield* keyring.number(tenantId))) return false
    const key = yield* keyring.ofTenant(tenantId, "snapshots")
    const label = JSON.stringify(["snapshot", forgotten])
    const digest = (text: string) => sealer.digest(key, text)
    const text = yield* sealer.seal(
      key,
      placeOf(snapshot, snapshot, label),
      label,
      JSON.stringify([checksum, state])
    )
    const sealed = {
      ...snapshot,
      checksum: yield* digest(checksum),
      state: text,
      personal: undefined,
      forgotten: undefined
    }
    if (replaces === undefined) return yield* storage.save(sealed)
    // The one to replace may have been sealed, or stored before its aggregate had personal fields.
    const isSaved = yield* storage.save({
      ...sealed,
      replaces: { ...replaces, checksum: yield* digest(replaces.checksum) }
    })
    return isSaved || (yield* storage.save(sealed))
  })

  return {
    load: (key) =>
      Effect.flatMap(storage.load(key), (row) =>
        row === undefined || !row.state.startsWith(marker)
          ? Effect.succeed(row)
          : Effect.tap(opened(key, row, envelopeOfAll(row.state)), (found) =>
              found === undefined ? storage.remove(key) : Effect.void
            )
      ),
    save: (snapshot) =>
      snapshot.personal !== true
        ? storage.save(snapshot)
        : snapshot.forgotten === undefined
          ? Effect.succeed(false)
          : save(snapshot, snapshot.forgotten),
    remove: (key) => storage.remove(key)
  }
}
