/** From states to snapshots and back: what is kept can be told from what was changed, and from what is outdated. */
import { Effect, Result, Schema, SchemaParser } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type { Tagged } from "../domain/Event.ts"
import type { NewSnapshot, SnapshotKey } from "../driver/SnapshotStorage.ts"
import { canonicalJson } from "../internal/canonicalJson.ts"
import { sha256Hex } from "../internal/digest.ts"
import { history, outline } from "../domain/eventHistory.ts"
import { jsonProblem } from "../internal/json.ts"

/** Levels of nesting that a state may have. */
const maxDepth = 1000

/** The event that a state was reached with: where it is, and which one. */
export type Place = Pick<NewSnapshot, "version" | "position" | "eventId" | "recordedAt">

/** Between an aggregate's states and their JSON. */
interface StateCodec<State> {
  readonly encode: (state: State) => Result.Result<unknown, unknown>
  readonly decode: (json: unknown) => Result.Result<State, unknown>
  /** Kept once it is known. */
  fingerprint: string | undefined
}

/** A schema may throw, and user code runs inside. */
const guarded =
  <A, B>(run: (input: A) => Result.Result<B, unknown>) =>
  (input: A): Result.Result<B, unknown> => {
    try {
      return run(input)
    } catch (defect) {
      return Result.fail(defect)
    }
  }

/** Codecs are compiled once per aggregate. The key is the aggregate alone: nothing in here depends on a tenant. */
const compiled = new WeakMap<object, unknown>()

const stateCodec = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>
): StateCodec<State> => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Entries are written below only, each by the aggregate that is its key.
  const known = compiled.get(aggregate) as StateCodec<State> | undefined
  if (known !== undefined) return known
  const json = Schema.toCodecJson(aggregate.state)
  const codec: StateCodec<State> = {
    encode: guarded(SchemaParser.encodeUnknownResult(json)),
    decode: guarded(SchemaParser.decodeUnknownResult(json)),
    fingerprint: undefined
  }
  compiled.set(aggregate, codec)
  return codec
}

/** What JSON of a state looks like; nothing for schemas that cannot say it. */
const shapeOf = (schema: Schema.Constraint): unknown => {
  try {
    return JSON.parse(JSON.stringify(Schema.toJsonSchemaDocument(schema)))
  } catch {
    return null
  }
}

/**
 * Tells what a state depends on besides its events, as far as it shows: the schema of the state, its initial value, the
 * types and versions of events there are, where each of them leads, and which ones are passed over. The fold and the steps of
 * upcasters do not show: for them, there is the version of the state.
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

/** Why a state cannot be kept. */
export type Unfit = "notStorable" | "tooLarge"

/** A snapshot of a state, ready for the driver. */
export const encode = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>,
  key: SnapshotKey,
  { eventId, position, recordedAt, version }: Place,
  state: State,
  maxBytes: number
): Effect.Effect<NewSnapshot, Unfit> =>
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

/** Why a snapshot cannot be used, whatever is in the stream. */
export type Useless = "stateVersion" | "dependencies" | "corrupt"

/** The state of a snapshot. */
export const decode = <State, Event extends Tagged, Id>(
  aggregate: Aggregate.Aggregate<string, State, Event, Id>,
  key: SnapshotKey,
  snapshot: NewSnapshot
): Effect.Effect<State, Useless> =>
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
