/** The names of spans, of their attributes, and of metrics: all of them, and nothing else. `Telemetry` re-exports them. */
import type { Tracer } from "effect"

/**
 * The keys of attributes of spans. `tenantId` is also a key of log annotations and of HTTP spans.
 *
 * **Details**
 *
 * Keys under `db.` and `messaging.`, and `error.type`, are those of OpenTelemetry's semantic conventions. Those under
 * `eventsourcing.`, and `tenant.id`, are the library's own.
 */
export const attribute = {
  /** The tenant. Absent for work across tenants. */
  tenantId: "tenant.id",
  /** The tag of the error; that of its reason if the error has one, such as `VersionConflict`; absent without an error. */
  errorType: "error.type",
  /** Always `eventsourcing`. The database below has spans of its own. */
  dbSystem: "db.system.name",
  /** `append`, `fold`, `load`, `execute` or `decide`. */
  dbOperation: "db.operation.name",
  /** The aggregate's type; several in order, with commas. */
  dbCollection: "db.collection.name",
  /** Always `eventsourcing`. */
  messagingSystem: "messaging.system",
  /** `process`, `react`, `send`, `await`, `replay` or `rebuild`. */
  messagingOperation: "messaging.operation.name",
  /** `process` or `send`; absent for other operations. */
  messagingType: "messaging.operation.type",
  /** The name of the projection or reaction. */
  consumerGroup: "messaging.consumer.group.name",
  /** The name of the outbox relay. */
  destination: "messaging.destination.name",
  /** Number of the handled or sent events. */
  messageCount: "messaging.batch.message_count",
  /** Number of the events that are appended, or were read. */
  events: "eventsourcing.events",
  /** Number of times that `decide` was called. */
  attempts: "eventsourcing.attempts",
  /** True if the events, or the command, existed before. */
  replayed: "eventsourcing.replayed",
  /** Version of the projection. */
  projectionVersion: "eventsourcing.projection.version",
  /** True if the work belongs to a rebuild. */
  rebuild: "eventsourcing.rebuild",
  /** Position in the tenant's log up to which events were handled. */
  position: "eventsourcing.position",
  /** Version of the snapshot from which a load started. */
  snapshotVersion: "eventsourcing.snapshot.version",
  /** The reason for which a load found no usable snapshot, as of `Telemetry.snapshotMisses`. */
  snapshotMiss: "eventsourcing.snapshot.miss"
} as const

/** The key of an attribute of spans. */
export type AttributeKey = (typeof attribute)[keyof typeof attribute]

/** A kind of spans. */
export interface SpanDescription {
  /** The name, in which `<…>` stands for the name of a declared thing, never for one of its instances. */
  readonly name: string
  readonly kind: Tracer.SpanKind
  /** The calls and the work that it covers. */
  readonly covers: string
  /** The keys of attributes that it may have. */
  readonly attributes: ReadonlyArray<AttributeKey>
}

const common = ["tenant.id", "error.type"] as const
const database = [...common, "db.system.name", "db.operation.name", "db.collection.name"] as const
const messaging = [
  ...common,
  "messaging.system",
  "messaging.operation.name",
  "messaging.consumer.group.name",
  "eventsourcing.projection.version"
] as const
const batch = ["messaging.operation.type", "messaging.batch.message_count", "eventsourcing.position"] as const

/** The spans of the library, by operation. There are no others; those of SQL statements are of Effect's SQL client. */
export const spans = {
  append: {
    name: "append <aggregate>",
    kind: "client",
    covers: "`EventStore.append`, `appendAll` and `appendJson`",
    attributes: [...database, "eventsourcing.events", "eventsourcing.replayed"]
  },
  fold: {
    name: "fold <aggregate>",
    kind: "client",
    covers: "`EventStore.fold`: a read of events, in a load or a command",
    attributes: [...database, "eventsourcing.events"]
  },
  load: {
    name: "load <aggregate>",
    kind: "internal",
    covers: "`Repository.load` and `loadOrInitial`; `Decisions.read`",
    attributes: [...database, "eventsourcing.snapshot.version", "eventsourcing.snapshot.miss"]
  },
  execute: {
    name: "execute <aggregate>",
    kind: "internal",
    covers: "`Repository.execute`",
    attributes: [
      ...database,
      "eventsourcing.events",
      "eventsourcing.attempts",
      "eventsourcing.replayed",
      "eventsourcing.snapshot.version",
      "eventsourcing.snapshot.miss"
    ]
  },
  decide: {
    name: "decide <aggregates>",
    kind: "internal",
    covers: "`Decisions.execute`; named after the aggregates of the model's query",
    attributes: [...database, "eventsourcing.events", "eventsourcing.attempts", "eventsourcing.replayed"]
  },
  process: {
    name: "process <projection>",
    kind: "consumer",
    covers: "A transaction in which a projection handles events of a tenant; linked to their traces",
    attributes: [...messaging, ...batch, "eventsourcing.rebuild"]
  },
  react: {
    name: "react <reaction>",
    kind: "consumer",
    covers: "A transaction in which a reaction or a relay handles events of a tenant; linked to their traces",
    attributes: [...messaging, ...batch]
  },
  send: {
    name: "send <relay>",
    kind: "producer",
    covers: "The call of a `Publisher` by an outbox relay; linked to the traces of the events",
    attributes: [
      ...common,
      "messaging.system",
      "messaging.operation.name",
      "messaging.operation.type",
      "messaging.destination.name",
      "messaging.batch.message_count"
    ]
  },
  await: {
    name: "await <projection>",
    kind: "internal",
    covers: "`awaitPosition` of `ProjectionManager` and of a projection in memory",
    attributes: messaging
  },
  replay: {
    name: "replay <projection>",
    kind: "internal",
    covers: "`ProjectionManager.replayDeadLetters`",
    attributes: [...messaging, "messaging.batch.message_count"]
  },
  rebuild: {
    name: "rebuild <projection>",
    kind: "internal",
    covers:
      "`ProjectionManager.rebuild` and `rebuildAll`, while the progress is watched; the work is in spans `process`",
    attributes: messaging
  },
  import: {
    name: "import events",
    kind: "internal",
    covers: "`EventStore.importEvents` and `importJson`",
    attributes: [...common, "eventsourcing.events"]
  },
  importTenant: {
    name: "import tenant",
    kind: "internal",
    covers: "`TenantArchive.importTar` and `importFiles`",
    attributes: [...common, "eventsourcing.events"]
  },
  export: {
    name: "export tenant",
    kind: "internal",
    covers: "`TenantArchive.exportTar` and `exportFiles`",
    attributes: common
  },
  verify: { name: "verify log", kind: "internal", covers: "`HashChain.verify`", attributes: common },
  move: {
    name: "move tenant",
    kind: "internal",
    covers: "`TenantMove.start` and `resume`, and each move that a runner carries on",
    attributes: common
  },
  erase: {
    name: "erase tenant",
    kind: "internal",
    covers: "`TenantErasure.erase` and `finish`",
    attributes: common
  },
  forget: { name: "forget subject", kind: "internal", covers: "`Forgetting.forget`", attributes: common },
  migrate: {
    name: "migrate schema",
    kind: "internal",
    covers: "`PgMigrator.run` and its layers",
    attributes: ["error.type"]
  }
} as const satisfies Record<string, SpanDescription>

/** An operation that has a span. */
export type Operation = keyof typeof spans

/** The name of the event of a span that stands for an event which a tolerant aggregate passed over. Its attributes are those of the metric. */
export const skippedSpanEvent = "eventsourcing.event.skipped"

/** The units of metrics: `seconds` and `bytes` are exported as UCUM's `s` and `By`, the others as annotations. */
export type Unit =
  | "seconds"
  | "bytes"
  | "{append}"
  | "{command}"
  | "{event}"
  | "{field}"
  | "{letter}"
  | "{load}"
  | "{message}"
  | "{refusal}"
  | "{retry}"
  | "{snapshot}"
  | "{state}"
  | "{tenant}"

/** A metric, as the library declares it. */
export interface MetricDescription {
  readonly type: "counter" | "gauge" | "histogram"
  readonly unit: Unit
  readonly description: string
  /** The keys of attributes that its series may have, beside `unit`. */
  readonly attributes: ReadonlyArray<string>
}

const aggregate = ["aggregate", "tenant.id"] as const
const withError = [...aggregate, "error.type"] as const
const projection = ["projection", "version"] as const

/** The metrics of the library, by name. There are no others. */
export const metrics = {
  "eventsourcing.append.duration": {
    type: "histogram",
    unit: "seconds",
    attributes: withError,
    description: "Duration of appends"
  },
  "eventsourcing.append.events": {
    type: "counter",
    unit: "{event}",
    attributes: aggregate,
    description: "Events that were appended"
  },
  "eventsourcing.load.duration": {
    type: "histogram",
    unit: "seconds",
    attributes: withError,
    description: "Duration of loads of aggregates and of decision models"
  },
  "eventsourcing.load.events": {
    type: "counter",
    unit: "{event}",
    attributes: aggregate,
    description: "Events that were read and folded, by loads and commands"
  },
  "eventsourcing.execute.duration": {
    type: "histogram",
    unit: "seconds",
    attributes: withError,
    description: "Duration of commands to aggregates"
  },
  "eventsourcing.decide.duration": {
    type: "histogram",
    unit: "seconds",
    attributes: withError,
    description: "Duration of decisions on decision models"
  },
  "eventsourcing.decide.retries": {
    type: "counter",
    unit: "{retry}",
    attributes: aggregate,
    description:
      "Decisions that were made again for the same command, most often because another append came first"
  },
  "eventsourcing.quota.refusals": {
    type: "counter",
    unit: "{refusal}",
    attributes: ["quota", "tenant.id"],
    description: "Appends that were refused by a quota of their tenant"
  },
  "eventsourcing.events.skipped": {
    type: "counter",
    unit: "{event}",
    attributes: ["aggregate", "event", "reason"],
    description: "Events that were passed over because they could not be decoded"
  },
  "eventsourcing.forgotten.opened": {
    type: "counter",
    unit: "{field}",
    attributes: [],
    description: "Personal fields that were read after their subject was forgotten"
  },
  "eventsourcing.remembered.hits": {
    type: "counter",
    unit: "{load}",
    attributes: aggregate,
    description: "Commands and loads that found a remembered state"
  },
  "eventsourcing.remembered.misses": {
    type: "counter",
    unit: "{load}",
    attributes: [...aggregate, "reason"],
    description: "Commands and loads that found no remembered state"
  },
  "eventsourcing.remembered.evictions": {
    type: "counter",
    unit: "{state}",
    attributes: [...aggregate, "reason"],
    description: "Remembered states that were dropped"
  },
  "eventsourcing.remembered.outdated": {
    type: "counter",
    unit: "{state}",
    attributes: aggregate,
    description: "Remembered states that were not the newest ones when the store was asked"
  },
  "eventsourcing.remembered.entries": {
    type: "gauge",
    unit: "{state}",
    attributes: [],
    description: "States that the process remembers"
  },
  "eventsourcing.remembered.size": {
    type: "gauge",
    unit: "bytes",
    attributes: [],
    description: "Weight of the states that the process remembers, in characters of the JSON of their events"
  },
  "eventsourcing.joined.appends": {
    type: "counter",
    unit: "{append}",
    attributes: aggregate,
    description: "Appends with the events of commands that were decided together"
  },
  "eventsourcing.joined.commands": {
    type: "counter",
    unit: "{command}",
    attributes: aggregate,
    description: "Commands that were decided together and appended"
  },
  "eventsourcing.snapshot.hits": {
    type: "counter",
    unit: "{load}",
    attributes: ["aggregate"],
    description: "Loads that started from a snapshot"
  },
  "eventsourcing.snapshot.misses": {
    type: "counter",
    unit: "{load}",
    attributes: ["aggregate", "reason"],
    description: "Loads that found no usable snapshot"
  },
  "eventsourcing.snapshot.taken": {
    type: "counter",
    unit: "{snapshot}",
    attributes: ["aggregate"],
    description: "Snapshots that were taken"
  },
  "eventsourcing.snapshot.not_taken": {
    type: "counter",
    unit: "{snapshot}",
    attributes: ["aggregate", "reason"],
    description: "Snapshots that were due but not taken"
  },
  "eventsourcing.projection.events": {
    type: "counter",
    unit: "{event}",
    attributes: projection,
    description: "Events that projections have handled"
  },
  "eventsourcing.projection.failures": {
    type: "counter",
    unit: "{event}",
    attributes: [...projection, "kind"],
    description: "Events that projections have failed to handle"
  },
  "eventsourcing.projection.duration": {
    type: "histogram",
    unit: "seconds",
    attributes: projection,
    description: "Duration of the transactions in which projections handle events"
  },
  "eventsourcing.projection.batch": {
    type: "histogram",
    unit: "{event}",
    attributes: projection,
    description: "Events that a projection handled in one transaction"
  },
  "eventsourcing.projection.pending": {
    type: "gauge",
    unit: "{event}",
    attributes: projection,
    description: "Events that are not handled yet, over all tenants"
  },
  "eventsourcing.projection.oldest_pending": {
    type: "gauge",
    unit: "seconds",
    attributes: projection,
    description: "Age of the oldest event that is not handled yet, over all tenants"
  },
  "eventsourcing.projection.parked": {
    type: "gauge",
    unit: "{tenant}",
    attributes: projection,
    description: "Tenants for which the projection is parked"
  },
  "eventsourcing.projection.dead_letters": {
    type: "gauge",
    unit: "{letter}",
    attributes: projection,
    description: "Dead letters of the projection, over all tenants"
  },
  "eventsourcing.projection.oldest_dead_letter": {
    type: "gauge",
    unit: "seconds",
    attributes: projection,
    description: "Age of the oldest dead letter of the projection, over all tenants"
  },
  "eventsourcing.outbox.messages": {
    type: "counter",
    unit: "{message}",
    attributes: ["relay"],
    description: "Messages that were sent"
  },
  "eventsourcing.outbox.age": {
    type: "histogram",
    unit: "seconds",
    attributes: ["relay"],
    description: "Age of the oldest message of a batch when it was sent, since its event was recorded"
  }
} as const satisfies Record<`eventsourcing.${string}`, MetricDescription>

/** The name of a metric of the library. */
export type MetricName = keyof typeof metrics
