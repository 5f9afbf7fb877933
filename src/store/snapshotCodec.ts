/** Encodes states as snapshots, decodes them, and recognises altered and outdated snapshots. */
import { Effect, Result, Schema, SchemaParser } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type { Tagged } from "../domain/Event.ts"
import type { NewSnapshot, SnapshotKey } from "../driver/SnapshotStorage.ts"
import { canonicalJson } from "../internal/canonicalJson.ts"
import { sha256Hex } from "../internal/digest.ts"
import { codecOf } from "../domain/codec/aggregateCodec.ts"
import { history, outline } from "../domain/eventHistory.ts"
import { jsonProblem } from "../internal/json.ts"

/** Maximum depth of a state. */
const maxDepth = 1000

/** The last event that a state contains. */
export type Place = Pick<NewSnapshot, "version" | "position" | "eventId" | "recordedAt">

/** Converts between an aggregate's states and their JSON. */
interface StateCodec<State> {
  readonly encode: (state: State) => Result.Result<unknown, unknown>
  readonly decode: (json: unknown) => Result.Result<State, unknown>
  /** Computed at first use. */
  fingerprint: string | undefined
  /** Computed at first use. */
  mayBePersonal: boolean | undefined
}

/** User code runs inside schemas, and may throw. */
const guarded =
  <A, B>(run: (input: A) => Result.Result<B, unknown>) =>
  (input: A): Result.Result<B, unknown> => {
    try {
      return run(input)
    } catch (defect) {
      return Result.fail(defect)
    }
  }

/** Codecs, compiled once per aggregate. The key contains no tenant, because no codec depends on one. */
const compiled = new WeakMap<object, unknown>()

const stateCodec = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>
): StateCodec<State> => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The only entries are those written below, each under its own aggregate.
  const known = compiled.get(aggregate) as StateCodec<State> | undefined
  if (known !== undefined) return known
  const json = Schema.toCodecJson(aggregate.state)
  const codec: StateCodec<State> = {
    encode: guarded(SchemaParser.encodeUnknownResult(json)),
    decode: guarded(SchemaParser.decodeUnknownResult(json)),
    fingerprint: undefined,
    mayBePersonal: undefined
  }
  compiled.set(aggregate, codec)
  return codec
}

/** True if a state may contain personal data: an event of its aggregate, of any version, has personal fields. */
export const mayBePersonal = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>
): boolean => {
  const codec = stateCodec(aggregate)
  codec.mayBePersonal ??= [...codecOf(aggregate).stored.values()].some(
    ({ former, personal, present }) =>
      present?.personal !== undefined ||
      [...former.keys()].some((schemaVersion) => personal(schemaVersion) !== undefined)
  )
  return codec.mayBePersonal
}

/** The JSON schema of a state; null for schemas without one. */
const shapeOf = (schema: Schema.Constraint): unknown => {
  try {
    return JSON.parse(JSON.stringify(Schema.toJsonSchemaDocument(schema)))
  } catch {
    return null
  }
}

/**
 * The fingerprint of the declarations that a state depends on: the schema and the initial value of the state, the types and
 * versions of events with the types that they are upcast to, and the kinds of unreadable events that are skipped. It cannot
 * cover the code of the fold and of upcasters; the author changes `stateVersion` for those.
 */
const fingerprint = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>
): Effect.Effect<string> =>
  Effect.suspend(() => {
    const codec = stateCodec(aggregate)
    if (codec.fingerprint !== undefined) return Effect.succeed(codec.fingerprint)
    const initial = Result.getOrElse(codec.encode(aggregate.initial), () => null)
    const parts = [
      aggregate.stateVersion,
      shapeOf(aggregate.state),
      jsonProblem(initial, maxDepth) === undefined ? initial : null,
      outline(history(aggregate.type, aggregate.events, aggregate.upcasters)),
      [...aggregate.skips].toSorted()
    ]
    return Effect.tap(sha256Hex(canonicalJson(parts)), (digest) =>
      Effect.sync(() => void (codec.fingerprint = digest))
    )
  })

const checksum = (key: SnapshotKey, snapshot: Omit<NewSnapshot, "checksum">): Effect.Effect<string> =>
  sha256Hex(
    JSON.stringify([
      key.tenantId,
      key.aggregateType,
      key.aggregateId,
      snapshot.version,
      snapshot.position,
      snapshot.eventId,
      snapshot.recordedAt,
      snapshot.stateVersion,
      snapshot.fingerprint,
      snapshot.state
    ])
  )

/** The reason why a state cannot be stored. */
export type NotStorable = "notStorable" | "tooLarge"

/** A snapshot of a state, ready for the driver. */
export const encode = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>,
  key: SnapshotKey,
  { eventId, position, recordedAt, version }: Place,
  state: State,
  maxBytes: number
): Effect.Effect<NewSnapshot, NotStorable> =>
  Effect.gen(function* () {
    const json = stateCodec(aggregate).encode(state)
    if (Result.isFailure(json) || jsonProblem(json.success, maxDepth) !== undefined)
      return yield* Effect.fail("notStorable" as const)
    const text = JSON.stringify(json.success)
    if (Buffer.byteLength(text) > maxBytes) return yield* Effect.fail("tooLarge" as const)
    const snapshot = {
      version,
      position,
      eventId,
      recordedAt,
      stateVersion: aggregate.stateVersion,
      fingerprint: yield* fingerprint(aggregate),
      state: text
    }
    return { ...snapshot, checksum: yield* checksum(key, snapshot) }
  })

/** The reason why a snapshot cannot be used, found without reading its stream. */
export type Unusable = "stateVersion" | "dependencies" | "corrupt"

/** Checks a snapshot and decodes its state. */
export const decode = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>,
  key: SnapshotKey,
  snapshot: NewSnapshot
): Effect.Effect<State, Unusable> =>
  Effect.gen(function* () {
    if ((yield* checksum(key, snapshot)) !== snapshot.checksum) return yield* Effect.fail("corrupt" as const)
    if (snapshot.stateVersion !== aggregate.stateVersion) return yield* Effect.fail("stateVersion" as const)
    if (snapshot.fingerprint !== (yield* fingerprint(aggregate)))
      return yield* Effect.fail("dependencies" as const)
    const { decode: decodeState } = stateCodec(aggregate)
    const state = parse(snapshot.state)
    const decoded = Result.isSuccess(state) ? decodeState(state.success) : state
    return Result.isSuccess(decoded) ? decoded.success : yield* Effect.fail("corrupt" as const)
  })

const parse = guarded((text: string): Result.Result<unknown, unknown> => Result.succeed(JSON.parse(text)))
