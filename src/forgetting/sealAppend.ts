/** Seals the personal fields of appends. */
import { Effect } from "effect"
import { hasEnvelopes, envelopesOf, marker } from "./envelope.ts"
import { endOfValue, spliced, type TextRange, walkJson } from "./jsonPlaces.ts"
import type { CurrentKeys, Keyring } from "./keyring.ts"
import { fieldPlace, type Sealer } from "./sealer.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type {
  AppendReceipt,
  AppendRequest,
  EventStorage,
  NewEventRow,
  PersonalField
} from "../driver/EventStorage.ts"
import {
  type AppendError,
  InvalidEvent,
  InvalidInput,
  LimitExceeded,
  type StorageUnavailable
} from "../driver/StoreError.ts"
import { samePath } from "../domain/codec/aggregateCodec.ts"
import { sameJson } from "../internal/json.ts"
import { maxEventBytes } from "../store/encode.ts"

/** The number of times that an append is sealed again because subjects were forgotten meanwhile. */
const maxAttempts = 10

type Append = EventStorage["Service"]["append"]

const isPersonal = ({ personal }: NewEventRow): boolean => personal !== undefined && personal.length > 0

/** A personal field in the text of its event. */
interface Place extends TextRange {
  /** JSON text. */
  readonly path: string
  readonly subject: string
}

/** The personal fields of an event in its text, in the order of the text. Throws if one is missing: it would be stored as it is. */
const placesOf = (
  { eventType, payload }: NewEventRow,
  fields: ReadonlyArray<PersonalField>
): ReadonlyArray<Place> => {
  const left = [...fields]
  const places: Array<Place> = []
  walkJson(payload, (path, start) => {
    const at = left.findIndex((field) => samePath(field.path, path))
    if (at < 0) return undefined
    const end = endOfValue(payload, start)
    for (const { subject } of left.splice(at, 1))
      places.push({ path: JSON.stringify(path), subject, start, end })
    return left.length === 0 ? payload.length : end
  })
  if (left.length > 0)
    throw new TypeError(`a personal field of event ${eventType} is not in its text: it was not stored`)
  return places
}

const subjectsOf = ({ streams }: AppendRequest): ReadonlySet<string> => {
  const subjects = new Set<string>()
  for (const { events } of streams)
    for (const { personal = [] } of events) for (const { subject } of personal) subjects.add(subject)
  return subjects
}

/** Appends of a storage whose events are sealed before. */
export const makeSealAppend = (
  storage: EventStorage["Service"],
  keyring: Keyring,
  sealer: Sealer
): Append => {
  /** The stored text of an event that may have been appended before. */
  const storedOf = Effect.fnUntraced(function* (tenantId: TenantId, eventId: string) {
    const position = yield* storage.eventPosition({ tenantId, eventId })
    if (position === undefined) return undefined
    const { rows } = yield* storage.readLog({
      tenantId,
      fromPosition: position,
      toPosition: position,
      recordedFrom: undefined,
      recordedBefore: undefined,
      aggregateTypes: undefined,
      eventTypes: undefined,
      direction: "forwards",
      limit: 1
    })
    return rows[0]?.payload
  })

  /**
   * The event with the sealed fields of the stored one, if they have the same data, as far as it is known. The storage compares the rest.
   * Undefined if the event is not stored, or is another one.
   */
  const asStored = Effect.fnUntraced(function* (tenantId: TenantId, event: NewEventRow) {
    const { eventId, payload, personal = [] } = event
    const stored = yield* storedOf(tenantId, eventId)
    const envelopes = stored === undefined ? undefined : envelopesOf(stored)
    if (stored === undefined || envelopes === undefined) return undefined
    const keys = yield* keyring.byId(
      "compare a repeated event",
      tenantId,
      envelopes.map(({ keyId }) => keyId)
    )
    const places = placesOf(event, personal)
    const texts: Array<string> = []
    for (const { end, path, start } of places) {
      const envelope = envelopes.find((one) => one.path === path)
      const key = envelope === undefined ? undefined : keys.get(envelope.keyId)
      if (envelope === undefined || key === undefined) return undefined
      if (key !== "destroyed") {
        const opened = yield* sealer.open(key, fieldPlace(tenantId, eventId, path), envelope)
        if (opened === undefined || !sameJson(opened, payload.slice(start, end))) return undefined
      }
      texts.push(stored.slice(envelope.start, envelope.end))
    }
    return { ...event, payload: spliced(payload, places, texts), personal: undefined }
  })

  const sealed = Effect.fnUntraced(function* (
    tenantId: TenantId,
    aggregateType: string,
    event: NewEventRow,
    keys: CurrentKeys,
    again: boolean
  ): Effect.fn.Return<NewEventRow, StorageUnavailable | InvalidInput<InvalidEvent | LimitExceeded>> {
    const { eventId, eventType, payload, personal = [] } = event
    const refused = personal.find(({ subject }) => keys.get(subject) === "forgotten")
    if (again || refused !== undefined) {
      const stored = yield* asStored(tenantId, event)
      if (stored !== undefined) return stored
    }
    if (refused !== undefined)
      return yield* new InvalidInput({
        reason: new InvalidEvent({
          aggregateType,
          eventType,
          path: ["payload", ...refused.path],
          reason: `is personal data of ${refused.subject}, who was forgotten: leave the person out, or allow the person again with Forgetting.allowAgain`
        })
      })
    const places = placesOf(event, personal)
    const texts: Array<string> = []
    for (const { end, path, start, subject } of places) {
      const key = keys.get(subject)
      if (key === undefined || key === "forgotten") throw new TypeError("a subject has no key")
      const place = fieldPlace(tenantId, eventId, path)
      const text = payload.slice(start, end)
      texts.push(sealer.now?.seal(key, place, path, text) ?? (yield* sealer.seal(key, place, path, text)))
    }
    const text = spliced(payload, places, texts)
    if (text.length * 3 > maxEventBytes && Buffer.byteLength(text) > maxEventBytes)
      return yield* new InvalidInput({
        reason: new LimitExceeded({
          limit: "eventBytes",
          subject: `sealed payload of ${eventType}`,
          maximum: maxEventBytes
        })
      })
    return { ...event, payload: text, personal: undefined }
  })

  const sealAll = Effect.fnUntraced(function* (request: AppendRequest, again: boolean) {
    const { tenantId } = request
    // The number is not read first, because appends that come together must keep their order. The storage compares it under the
    // tenant's lock, and the vault gives no key of a forgotten person.
    const number = keyring.knownForgotten(tenantId) ?? 0
    const keys = yield* keyring.current(tenantId, subjectsOf(request))
    const streams: Array<AppendRequest["streams"][number]> = []
    for (const stream of request.streams) {
      const events: Array<NewEventRow> = []
      for (const event of stream.events)
        events.push(
          isPersonal(event) ? yield* sealed(tenantId, stream.aggregateType, event, keys, again) : event
        )
      streams.push({ ...stream, events })
    }
    return { ...request, streams, forgotten: request.forgotten ?? number }
  })

  const send = (
    request: AppendRequest,
    again: boolean,
    attempts: number
  ): Effect.Effect<AppendReceipt, AppendError> =>
    Effect.catchTag(
      Effect.tap(
        Effect.flatMap(sealAll(request, again), (ready) => storage.append(ready)),
        // Keys are kept only while the number is known. The append is stored already, so a failure to read the number is ignored.
        () =>
          keyring.knownForgotten(request.tenantId) === undefined
            ? Effect.ignore(keyring.confirm(request.tenantId))
            : Effect.void
      ),
      "Conflict",
      (error): Effect.Effect<AppendReceipt, AppendError> => {
        const { reason } = error
        // Sealed under an earlier key: the text differs, and the data may be the same.
        if (reason._tag === "EventIdConflict" && !again) return send(request, true, attempts)
        if (reason._tag !== "SubjectsForgotten") return Effect.fail(error)
        return Effect.flatMap(keyring.confirm(request.tenantId), () =>
          // The writer relies on a number itself, and has to decide again.
          request.forgotten !== undefined || attempts >= maxAttempts
            ? Effect.fail(error)
            : send(request, again, attempts + 1)
        )
      }
    )

  return (request) => {
    let isSealed = false
    for (const { events } of request.streams)
      for (const event of events) {
        if (hasEnvelopes(event.payload))
          throw new TypeError(
            `event ${event.eventType} has a member that begins with ${marker}, which is reserved`
          )
        isSealed ||= isPersonal(event)
      }
    if (isSealed) return send(request, false, 0)
    return request.forgotten === undefined
      ? storage.append(request)
      : Effect.catchTag(storage.append(request), "Conflict", (error) =>
          error.reason._tag === "SubjectsForgotten"
            ? Effect.andThen(keyring.confirm(request.tenantId), Effect.fail(error))
            : Effect.fail(error)
        )
  }
}
