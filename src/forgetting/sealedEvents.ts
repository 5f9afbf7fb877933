/** A storage of events that seals personal fields, over one that stores ciphertext. */
import { Effect } from "effect"
import type { Keyring } from "./keyring.ts"
import type { OpenedEvents } from "./openedEvents.ts"
import { anySealed, makeOpenRows, type SealedRow, type WithPayload } from "./openRows.ts"
import { makeSealAppend } from "./sealAppend.ts"
import type { Sealer } from "./sealer.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type {
  EventContent,
  EventRow,
  EventStorage,
  LogReader,
  LoadStreamRequest,
  Page,
  StreamPage
} from "../driver/EventStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"

/** Copies field by field: spreading a row takes longer than all else that opening it needs. */
const contentWith: WithPayload<EventContent> = ({ eventId, eventType, schemaVersion, version }, payload) => ({
  version,
  eventType,
  schemaVersion,
  payload,
  eventId
})

const rowWith: WithPayload<EventRow> = (row, payload, storedPayload) => ({
  eventId: row.eventId,
  eventType: row.eventType,
  schemaVersion: row.schemaVersion,
  occurredAt: row.occurredAt,
  actor: row.actor,
  correlationId: row.correlationId,
  causationId: row.causationId,
  metadata: row.metadata,
  payload,
  tags: row.tags,
  position: row.position,
  aggregateType: row.aggregateType,
  aggregateId: row.aggregateId,
  version: row.version,
  recordedAt: row.recordedAt,
  hash: row.hash,
  traceparent: row.traceparent,
  storedPayload
})

export const makeSealedEvents = (
  storage: EventStorage["Service"],
  keyring: Keyring,
  sealer: Sealer,
  openedEvents: OpenedEvents
): EventStorage["Service"] => {
  const openRows = makeOpenRows(keyring, sealer, openedEvents)

  const openPage = <Row extends SealedRow, P extends Page<Row>>(
    operation: string,
    tenantId: TenantId,
    page: P & Page<Row>,
    withPayload: WithPayload<Row>
  ): Effect.Effect<P, StorageUnavailable> =>
    Effect.map(openRows(operation, tenantId, page.rows, withPayload), (rows) =>
      rows === page.rows ? page : { ...page, rows }
    )

  const openReader = (tenantId: TenantId, reader: LogReader): LogReader => ({
    next: (limit) =>
      Effect.flatMap(reader.next(limit), (page) => openPage("read a log", tenantId, page, rowWith)),
    step: (limit) =>
      Effect.flatMap(reader.step(limit), (page) => openPage("read a log", tenantId, page, rowWith)),
    isReady: reader.isReady,
    untilReady: reader.untilReady
  })

  /** Aggregate types with sealed events. Only their loads need the ids of events. */
  const sealedTypes = new Set<string>()

  const loadSealed = (request: LoadStreamRequest): Effect.Effect<StreamPage, StorageUnavailable> =>
    Effect.flatMap(storage.loadStream({ ...request, eventIds: true }), (page) =>
      openPage("load a stream", request.tenantId, page, contentWith)
    )

  return {
    ...storage,
    seals: true,
    knownForgotten: (tenantId) => keyring.knownForgotten(tenantId),
    sealFingerprint: ({ fingerprint, tenantId }) =>
      Effect.flatMap(keyring.ofTenant(tenantId, "fingerprints"), (key) =>
        sealer.digest(key, `command ${fingerprint}`)
      ),
    append: makeSealAppend(storage, keyring, sealer),
    streamEndsWith: (request) =>
      request.forgotten === undefined
        ? storage.streamEndsWith(request)
        : Effect.flatMap(storage.streamEndsWith(request), (endsWith) =>
            // The caller reads next, and must not rely on an earlier number.
            endsWith ? Effect.succeed(true) : Effect.as(keyring.confirm(request.tenantId), false)
          ),
    forgottenSubjects: (request) =>
      request.after === undefined
        ? Effect.map(keyring.confirm(request.tenantId), (forgotten) => ({ forgotten, subjects: [] }))
        : storage.forgottenSubjects(request),
    readStream: (request) =>
      Effect.flatMap(storage.readStream(request), (page) =>
        openPage("read a stream", request.tenantId, page, rowWith)
      ),
    loadStream: (request) =>
      sealedTypes.has(request.aggregateType)
        ? loadSealed(request)
        : Effect.flatMap(storage.loadStream(request), (page) => {
            if (!anySealed(page.rows)) return Effect.succeed(page)
            sealedTypes.add(request.aggregateType)
            return loadSealed(request)
          }),
    readLog: (request) =>
      Effect.flatMap(storage.readLog(request), (page) =>
        openPage("read a log", request.tenantId, page, rowWith)
      ),
    openLog: (request) =>
      Effect.map(storage.openLog(request), (reader) =>
        reader === undefined ? undefined : openReader(request.tenantId, reader)
      ),
    readAllLogs: (request) =>
      Effect.flatMap(storage.readAllLogs(request), (page) => {
        if (!anySealed(page.rows)) return Effect.succeed(page)
        const tenants = new Set(page.rows.map(({ tenantId }) => tenantId))
        return Effect.map(
          Effect.forEach(tenants, (tenantId) =>
            openRows(
              "read all logs",
              tenantId,
              page.rows.filter((row) => row.tenantId === tenantId),
              (row, payload, stored) => ({ ...rowWith(row, payload, stored), tenantId })
            )
          ),
          // Ordered by tenant.
          (rows) => ({ ...page, rows: rows.flat() })
        )
      })
  }
}
