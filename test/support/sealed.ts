/** Sealed storages for contracts that know nothing of personal fields. */
import { Effect, Layer } from "effect"
import {
  EventStorage,
  AdministrationStorage,
  Forgetting,
  KeyVault,
  SnapshotStorage
} from "effect-eventsourcing"

type Storage = EventStorage.EventStorage["Service"]

/** The members of a payload as personal fields of the stream's id. Payloads that are written in an unusual way have none. */
const fieldsOf = (payload: string, subject: string): ReadonlyArray<EventStorage.PersonalField> => {
  const value: unknown = JSON.parse(payload)
  return typeof value !== "object" || value === null || Array.isArray(value) || payload.includes('"a":1,"a"')
    ? []
    : Object.keys(value).map((key) => ({ path: [key], subject }))
}

const opened = <Row extends EventStorage.EventContent>(row: Row): Row => {
  if (!("storedPayload" in row)) return row
  // Contracts compare rows with those that they wrote. Hashes still see the stored text.
  return Object.defineProperty({ ...row }, "storedPayload", { enumerable: false })
}

const openedPage = <Row extends EventStorage.EventContent, P extends EventStorage.Page<Row>>(page: P): P => ({
  ...page,
  rows: page.rows.map(opened)
})

/** Makes every member of every payload personal, and hides the stored texts. */
const makeAllPersonal = (storage: Storage): Storage => ({
  ...storage,
  append: (request) =>
    storage.append({
      ...request,
      streams: request.streams.map((stream) => ({
        ...stream,
        events: stream.events.map((event) => ({
          ...event,
          personal: event.personal ?? fieldsOf(event.payload, stream.aggregateId)
        }))
      }))
    }),
  readStream: (request) => Effect.map(storage.readStream(request), openedPage),
  loadStream: (request) =>
    Effect.map(storage.loadStream(request), (page) => ({
      ...page,
      rows: page.rows.map((row) => {
        const { eventId: _eventId, ...rest } = opened(row)
        return request.eventIds === true ? opened(row) : rest
      })
    })),
  readLog: (request) => Effect.map(storage.readLog(request), openedPage),
  openLog: (request) =>
    Effect.map(storage.openLog(request), (reader) =>
      reader === undefined
        ? undefined
        : {
            ...reader,
            next: (limit: number) => Effect.map(reader.next(limit), openedPage),
            step: (limit: number) => Effect.map(reader.step(limit), openedPage)
          }
    ),
  readAllLogs: (request) => Effect.map(storage.readAllLogs(request), openedPage)
})

type Storages = EventStorage.EventStorage | SnapshotStorage.SnapshotStorage

/** Makes every snapshot personal, of the number that is known. */
const allSnapshots = Layer.effect(
  SnapshotStorage.SnapshotStorage,
  Effect.map(SnapshotStorage.SnapshotStorage, (storage) => ({
    ...storage,
    save: (snapshot: SnapshotStorage.SaveSnapshot) =>
      storage.save({ ...snapshot, personal: true, forgotten: 0 })
  }))
)

/** Storages that seal all that they store. */
export const sealedLayer: Layer.Layer<
  Storages,
  never,
  Storages | AdministrationStorage.AdministrationStorage
> = Layer.effect(EventStorage.EventStorage, Effect.map(EventStorage.EventStorage, makeAllPersonal))
  .pipe(Layer.merge(allSnapshots))
  .pipe(Layer.provide(Forgetting.layer), Layer.provide(KeyVault.layerMemory))
