import { assert, describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import * as Root from "effect-eventsourcing"
import * as Pg from "effect-eventsourcing/pg"
import * as Testing from "effect-eventsourcing/testing"

/** The modules of an entry point, and where their sources are. */
type Entry = readonly [modules: Readonly<Record<string, object>>, directory: string]

const main: Entry = [Root, "../src/"]
const pg: Entry = [Pg, "../src/pg/"]
const testing: Entry = [Testing, "../src/testing/"]

/** What a file exports. What its documentation calls `@internal` is stripped from the declarations that are published. */
const exportsOf = (source: string) => {
  const found = { values: new Set<string>(), types: new Set<string>(), internal: new Set<string>() }
  const declaration =
    /(\/\*\*(?:(?!\*\/).)*\*\/\s*)?(?:\/\/[^\n]*\n\s*)*^export (const|class|function|interface|type) (\w+)/gms
  for (const [, comment = "", kind = "", name = ""] of source.matchAll(declaration)) {
    if (comment.includes("@internal")) found.internal.add(name)
    else found[kind === "interface" || kind === "type" ? "types" : "values"].add(name)
  }
  return found
}

const sourceOf = (directory: string, module: string) =>
  readFileSync(new URL(`${directory}${module}.ts`, import.meta.url), "utf8")

/** One line for each module: its values, then its types. */
const describeEntry = ([modules, directory]: Entry): string =>
  Object.keys(modules)
    .toSorted()
    .map((module) => {
      const { types, values } = exportsOf(sourceOf(directory, module))
      const named = (names: ReadonlySet<string>) => [...names].toSorted().join(" ")
      return `${module}: ${named(values)}${types.size === 0 ? "" : ` | ${named(types)}`}`
    })
    .join("\n")

describe("the public API", () => {
  it("of the main entry point is this", () => {
    expect(describeEntry(main)).toMatchInlineSnapshot(`
      "Aggregate: make | Aggregate Any Apply EventOf Handlers IdOf NoOthers Options StateOf
      Event: EventId NewEvent generateId make | Appendable Envelope EventId EventOptions EventSchema Tagged
      EventContext: CurrentEventContext derivingIds provide whileHandling | EventContext
      EventStorage: EventStorage | AppendReceipt AppendRequest CrossTenantAccessRow Direction EventRow NewEventRow Page ReadLogRequest ReadStreamRequest StreamAppend TenantEventRow TenantRow TenantStatus
      EventStore: EventStore layer layerWith | AllLogsCursor Appended AppendedOf EnvelopeOf LogRange Options ReadOptions StreamEvents StreamEventsOf StreamKey TenantHead VersionRange
      InMemoryProjection: make | Apply AwaitOptions Failure Handlers InMemoryProjection LayerOptions Options Running Service
      MemoryEventStorage: layer layerWith | Options
      MemoryProjectionStorage: layer
      OutboxRelay: defaultRetry layer make | LayerOptions Options
      Projection: FailedAt defaultRetry make makeAcrossTenants | Any AnyEffect EnvelopeWith ErrorOf Handlers OnFailure Options Projection Requirements RequirementsOf StartAt
      ProjectionError: CannotRebuild DeadLetterNotFound InvalidReason ProjectionBehind ProjectionParked RebuildParked ReplayFailed | ReadModelState
      ProjectionRunner: ProjectionRunner failures handledEvents lag layer | Options
      ProjectionStorage: ProjectionStorage | Claim DeadLetter Failure Progress ProjectionKey TenantProjection WorkRequest
      Projections: Projections layer | AwaitOptions DeadLetter RebuildOptions Rebuildable Ref
      Publisher: PublishFailed Publisher | Message
      Reaction: make | Options Reaction
      Repository: Repository defaultRetry layer layerWith | Decision ErrorOf ExecuteOptions Executed LoadError Loaded Options RequirementsOf SaveOptions
      StoreError: AggregateNotFound EventDecodeError EventIdConflict InlineProjectionFailed InvalidAggregateId InvalidEvent LimitExceeded PositionAhead StorageUnavailable TenantMismatch TenantSuspended UnknownEventType UnknownTenant VersionConflict | AppendError DecodeError ExpectedVersion InvalidInput ReadError
      Subscription: allLogs defaultRetry log | AllLogsOptions Cursor LogOptions Options
      Tenant: AllTenants CurrentTenant TenantId generate provide provideAll untenanted | CrossTenantAccess TenantId
      TenantRegistry: TenantRegistry layer | RecordedAccess"
    `)
  })

  it("of ./pg is this", () => {
    expect(describeEntry(pg)).toMatchInlineSnapshot(`
      "PgCheck: IsolationImpaired SchemaOutdated isolation schema
      PgEmbedded: DataDirectoryInUse DataDirectoryUnusable PgliteNotInstalled PgliteStartFailed layer layerWith make | Options PgEmbeddedError
      PgEventStorage: layer layerWith | Options
      PgInlineProjections: layer rebuild | Options
      PgMigrator: MigrationError applied latest layer migrations run table | Migration
      PgProjectionStorage: layer
      PgTenant: transaction"
    `)
  })

  it("of ./testing is this", () => {
    expect(describeEntry(testing)).toMatchInlineSnapshot(`
      "EventStorageSuite: suite | Options
      ProjectionKit: expect given | Add Given
      ProjectionStorageSuite: suite | Options
      TenantIsolationSuite: cases coreCases databaseCases layer suite | Options"
    `)
  })

  it("is what the modules export when they are loaded", () => {
    for (const [modules, directory] of [main, pg, testing]) {
      for (const [module, exported] of Object.entries(modules)) {
        const { internal, values } = exportsOf(sourceOf(directory, module))
        const loaded = Object.keys(exported).filter((name) => !internal.has(name))
        assert.deepStrictEqual(loaded.toSorted(), [...values].toSorted(), module)
      }
    }
  })
})
