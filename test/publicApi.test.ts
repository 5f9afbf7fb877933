import { assert, describe, expect, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import * as Root from "effect-eventsourcing"
import * as Http from "effect-eventsourcing/http"
import * as Cli from "effect-eventsourcing/cli"
import * as Cluster from "effect-eventsourcing/cluster"
import * as Fleet from "effect-eventsourcing/fleet"
import * as Inspector from "effect-eventsourcing/inspector"
import * as Operations from "effect-eventsourcing/operations"
import * as Pg from "effect-eventsourcing/pg"
import * as Testing from "effect-eventsourcing/testing"

/** The modules of an entry point, and the directory of its index. */
type Entry = readonly [modules: Readonly<Record<string, object>>, directory: string]

const main: Entry = [Root, "../src/"]
const http: Entry = [Http, "../src/http/"]
const cli: Entry = [Cli, "../src/cli/"]
const inspector: Entry = [Inspector, "../src/inspector/"]
const cluster: Entry = [Cluster, "../src/cluster/"]
const fleet: Entry = [Fleet, "../src/fleet/"]
const operations: Entry = [Operations, "../src/operations/"]
const pg: Entry = [Pg, "../src/pg/"]
const testing: Entry = [Testing, "../src/testing/"]

/** The exports of a file, without those documented as `@internal`, which are stripped from the published declarations. */
const exportsOf = (source: string) => {
  const found = { values: new Set<string>(), types: new Set<string>(), internal: new Set<string>() }
  const declaration =
    /(\/\*\*(?:(?!\*\/).)*\*\/\s*)?(?:\/\/[^\n]*\n\s*)*^export (const|class|function|interface|type) (\w+)/gms
  for (const [, comment = "", kind = "", name = ""] of source.matchAll(declaration)) {
    if (comment.includes("@internal")) found.internal.add(name)
    else found[kind === "interface" || kind === "type" ? "types" : "values"].add(name)
  }
  // A module re-exports names of a private file of its room.
  for (const [, type, names = ""] of source.matchAll(/^export (type )?\{([^}]*)\} from/gm)) {
    for (const name of names.split(",").map((text) => text.trim())) {
      if (name !== "") found[type === undefined ? "values" : "types"].add(name)
    }
  }
  return found
}

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8")

/** The text of a module, found through the index of its entry point. */
const sourceOf = (directory: string, module: string) => {
  const [, path] =
    new RegExp(`^export \\* as ${module} from "(.*)"$`, "m").exec(read(`${directory}index.ts`)) ??
    assert.fail(`${module} is not in ${directory}index.ts`)
  return read(`${directory}${path}`)
}

/** One line per module: its values, then its types. */
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
      "AdministrationStorage: AdministrationStorage SubjectHeld TenantHeld TenantStateConflict maxNamedHolds | Administered ArrivingMove CommandKeyRow DeadLetterRow DepartingMove EventsReader ImportError Imported LegalHold Limits MoveRun Origin OverviewOrder OverviewPlace OverviewRequest Plan ProgressRow Purged Quota StateChange Status SubjectChange SubjectRow TableHandling TenantOverviewRow TenantRecord TenantState TenantTable Tombstone WorkRow
      Aggregate: make tolerant | Aggregate Any Apply EventOf Handlers IdOf NoOthers NoSuchEvent Options StateOf Tags Unreadable
      BlindIndex: BlindIndex layer
      DecisionModel: combine fold make | Any Apply DecisionModel Handlers NoOthers Options StateOf
      Decisions: Decisions layer layerWith to | AnyDecided Decided Decision EnvelopeOf ExecuteOptions Executed JoinOptions ModelReadError ModelState Options Outcome
      Event: EventId NewEvent generateId make | Appendable Envelope EventId EventOptions EventSchema Position Tagged
      EventContext: CurrentEventContext derivingIds provide whileHandling | EventContext
      EventJson: NewEvent StoredEvent encoder fromEnvelope | Decoded EncodeError NewEvent StoredEvent
      EventQuery: of or | Any EventOf EventQuery Item Options
      EventSourcing: layer | Services
      EventStorage: EventStorage | AccessCompletion AccessOutcome AccessesRequest AppendCondition AppendReceipt AppendRequest CommandKey CommandRow CrossTenantAccessRow Direction EventContent EventPlace EventQuery EventQueryItem EventRow ForgottenSubject ForgottenSubjects JoinOwnAppend LoadStreamRequest LogHead LogReader LogStep NewAccess NewEventRow OpenLogRequest Page PersonalField ReadLogRequest ReadStreamRequest ReserveRequest StreamAppend StreamEndRequest StreamPage StreamRow TenantEventRow TenantRow TenantStatus UsageRow
      EventStore: EventStore ImportFailed layer layerWith | AllLogsCursor AppendCondition AppendConditions AppendConflict AppendFailure AppendOptions Appended AppendedOf CommandOptions EnvelopeOf EventPlace EventsToEncode FoldError FoldRequest Folded FoldedState ImportError ImportOptions Imported ImportedEvents JsonAppended JsonEvents JsonReceipt LogRange Options ReadOptions StreamEvents StreamEventsOf StreamKey TenantHead VersionRange
      Forgetting: Forgetting layer layerWith | CacheOptions ForgetError ForgetOptions HoldError Options
      HashChain: Anchor HashChainBroken NoHashChain head start verify | Anchor Head Verified VerifyOptions
      Health: Health NotReady draining layer layerWith live ready | Options
      InMemoryProjection: make | Apply AwaitOptions Current Failure Handlers InMemoryProjection Kept LayerOptions Options Running Service StateKey Stored
      InlineProjections: failures layer rebuild | Options
      KeyVault: KeyVault layerFile layerMemory | CarriedKey DataKey Fence FileOptions Purpose Root RootKey VaultOptions
      MemoryStorage: layer layerWith | Options
      OutboxRelay: PublishFailed Publisher defaultRetry layer make | LayerOptions Message Options
      Personal: Forgotten aggregateId forgotten getOrElse isForgotten make map orForgotten | Forgotten ForgottenJson OrForgotten Subject
      PersonalData: Entry outsideOfPayloads read readJson | Entry EntryJson Outside OutsideRequest Place Request
      PersonalSubject: PersonalSubject SubjectForgotten | Envelope State SubjectForgotten
      Placements: Placements
      Projection: FailedAt defaultRetry make makeAcrossTenants makeBatched | Any AnyEffect BatchOptions EnvelopeWith ErrorOf ForgottenHandler ForgottenOption Handlers OnFailure Options Projection Requirements RequirementsOf StartAt
      ProjectionError: CannotRebuild DeadLetterNotFound InvalidReason ProjectionBehind ProjectionParked ProjectionRefused RebuildCancelled RebuildParked ReplayFailed | DivergedAt ReadModelState
      ProjectionManager: ProjectionManager layer | AwaitOptions DeadLetter Failure FailureReport Rebuild RebuildOptions RebuildProgress Rebuildable Ref ReplayOptions Status
      ProjectionRunner: ProjectionRunner layer | Options
      ProjectionStorage: ProjectionRefused ProjectionStorage RebuildRefused pausedError | Backlog Claim DeadLetter Failure FailureCause FailureDescription FailureKind FailureRecord Progress ProjectionKey Registration StartAt SwitchOutcome TenantProjection WorkRequest
      Reaction: make | Options Reaction
      Repository: Repository defaultRetry layer layerWith | Command Decision ErrorOf ExecuteOptions Executed LoadError LoadOptions Loaded Options OptionsWithSnapshots RequirementsOf SaveOptions
      RoutedStorage: layerWith | Limits Options
      SnapshotPolicy: every never whenReadMoreThan | Situation SnapshotPolicy
      SnapshotStorage: SnapshotStorage | NewSnapshot SaveSnapshot SnapshotKey SnapshotRow
      StoreError: AggregateNotFound AppendConditionFailed CommandKeyConflict Conflict ConnectionFailed Contended EventDecodeError EventIdConflict InlineProjectionFailed InvalidAggregateId InvalidEvent InvalidInput KeyMissing KeyVaultFailed LimitExceeded OtherFailure OutcomeUnknown PositionAhead PositionDiverged QuotaExceeded ReadOnly SchemaMismatch SealBroken ShuttingDown StorageFull StorageUnavailable SubjectsForgotten TenantErased TenantImporting TenantMismatch TenantMoved TenantMoving TenantRefused TenantSuspended TimedOut Undecodable UnknownEventType UnknownSchemaVersion UnknownTenant VersionConflict | AppendError ConflictReason ExpectedVersion InvalidCommand InvalidId InvalidReason ReadError RefusalReason UnavailableReason UndecodableReason
      StoredEvents: read versions | StoredPayload StoredVersion Unreadable
      Subscription: allLogs defaultRetry log | AllLogsOptions Cursor LogOptions Options
      Telemetry: MeasuredCalls MeasuredTenants appendDuration appendedEvents attribute decideDuration decideRetries executeDuration forgottenOpened joinedAppends joinedCommands layerMeasured layerSampled loadDuration loadedEvents metrics outboxAge outboxMessages projectionBatch projectionDeadLetters projectionDuration projectionEvents projectionFailures projectionOldestDeadLetter projectionOldestPending projectionParked projectionPending prometheusName quotaRefusals rememberedEntries rememberedEvictions rememberedHits rememberedMisses rememberedOutdated rememberedSize skippedEvents skippedSpanEvent snapshotHits snapshotMisses snapshotsNotTaken snapshotsTaken spans | AttributeKey MetricDescription MetricName Operation SpanDescription Unit
      Tenant: AllTenants CurrentTenant TenantAdministration TenantId fromName generate provide provideAdministration provideAll untenanted withoutTenant | CrossTenantAccess Provided TenantId TenantInLayer WithoutTenant
      TenantArchive: CompressionUnavailable InvalidArchive SealedArchive UndeclaredTables abandonImport exportFiles exportTar fromTar importFiles importTar readFolder toTar verifyFiles verifyTar writeFolder | ArchiveFile ArchiveRoot Compression ExportError ExportKeys ExportOptions ImportError ImportKeys ImportOptions ImportProgress Imported LogEnd Manifest Verification
      TenantDirectory: TenantDirectory layerWith make | CacheOptions Options Replacement
      TenantErasure: TenantErasure layer layerWith layerWithVault | Certificate EraseOptions Erasure ErasureError Options
      TenantMove: MoveCalledOff MoveRefused TenantMove layer layerWith runner | MoveError MoveProgress MoveStatus MoveStep Moved Options RunOptions RunnerOptions
      TenantQuota: TenantQuota layer | Limits Plan Quota QuotaError QuotaStatus
      TenantRegistry: TenantRegistry layer | RecordedAccess Usage UsageRange
      Upcaster: dropped from | Any History Into PresentSchema Step Upcaster Version"
    `)
  })

  it("of ./http is this", () => {
    expect(describeEntry(http)).toMatchInlineSnapshot(`
      "CorrelationId: CurrentCorrelationId fromHeaders header layer provide
      JwtResolver: JoseNotInstalled config layer layerConfig make | Key KeyAlgorithm Options SecretAlgorithm
      Precondition: ETag IfMatch IfNoneMatch Tagged check etag expected fromRequest headers tagged | Expected Headers Version
      Problem: Conflict InternalServerError InvalidInput NotFound PreconditionFailed TooManyRequests Unavailable commandErrors fromError mapErrors queryErrors tooManyRequests unavailable | InternalServerError ProblemOf RetryOptions TooManyRequests Unavailable
      ProxyHeaderResolver: layer make | Options
      SubdomainResolver: layer make | Options
      TenantAccessError: CredentialMalformed CredentialMissing CredentialRejected RejectionReason StatedPlace TenantCheckUnavailable TenantContradicted TenantNotActive TenantNotKnown | RejectionReason TenantAccessError
      TenantMiddleware: BearerTenantMiddleware TenantMiddleware errors layer layerWith | Options
      TenantResolver: CurrentPrincipal ResolverConfigError TenantResolver agreeing layer | Principal ResolveError
      TrustedProxy: PeerAddress | ProxySecret TrustedProxy"
    `)
  })

  it("of ./cli is this", () => {
    expect(describeEntry(cli)).toMatchInlineSnapshot(
      `"Cli: CliFailure exitCodeOf exitCodes make run runWith | CliCommand Handlers Options Platform Storages"`
    )
  })

  it("of ./inspector is this", () => {
    expect(describeEntry(inspector)).toMatchInlineSnapshot(`"Inspector: layer session | Options Session"`)
  })

  it("of ./cluster is this", () => {
    expect(describeEntry(cluster)).toMatchInlineSnapshot(
      `"TenantEntity: PayloadNamesOtherTenant PublicTransport make | CallError Client Handlers LayerOptions Needs Options TenantEntity"`
    )
  })

  it("of ./fleet is this", () => {
    expect(describeEntry(fleet)).toMatchInlineSnapshot(`
      "FleetLoad: Capacity FleetLoad PlacementLoad Resource TenantLoad emptyPlacement fill resources scarcest | Capacity FleetLoad Placement PlacementLoad Resource TenantLoad Use
      FleetPlan: FleetPlan LeftTenant MoveReason NoisyTenant PlannedMove Rate assumedRate describe make print | Options Wanted
      FleetPolicy: NoPlace byTier leastLoaded pinned | FleetPolicy NewTenant"
    `)
  })

  it("of ./operations is this", () => {
    expect(describeEntry(operations)).toMatchInlineSnapshot(`
      "Actions: Actions layer | ActionError ExportOptions OnTenant Options Storages
      Acts: ActionFailed ActionName ActionRefused ActionUnavailable Counts DeadLetterFilter Done Erase Export Import Move Outcome Plain Progress ProjectionFilter ProjectionVersion Rebuild SetQuota Subject Verify | ActionName Counts DeadLetterFilter Done Erase Export Import Move Outcome Plain Progress ProjectionFilter ProjectionVersion Rebuild SetQuota Subject Verify
      Looks: AccessPage AccessView ChainVerification ChainView DeadLetterGroup DeadLetterGroups EventView LogPage MoveView PatchStep ProjectionTotal ProjectionView StateView StreamPage SubjectPage SubjectView TenantCursor TenantPage TenantSummary TraceGraph | AccessPage AccessView ChainVerification ChainView DeadLetterGroup DeadLetterGroups EventView LogPage MoveView PatchStep ProjectionTotal ProjectionView StateView StreamPage SubjectPage SubjectView TenantCursor TenantPage TenantSummary TraceGraph
      Operations: Operations layer | AccessesRequest Bounds DecisionRequest Filter LogRequest Operator Options StateRequest Storages StreamRequest TailRequest TenantsRequest TraceRequest
      OperationsApi: Api
      OperationsClient: layer | Options
      OperationsServer: layer | Options
      OperatorAccess: CurrentOperator OperatorAccess OperatorRefused OperatorUnknown atAll atTenant headerNames layer mayAct | Access Authorize Operator
      PayloadGrant: PayloadGrant Payloads mask maskKey provide shown | Grant Payloads"
    `)
  })

  it("of ./pg is this", () => {
    expect(describeEntry(pg)).toMatchInlineSnapshot(`
      "PgCheck: IsolationImpaired PrivilegedLogin SchemaOutdated SettingsIncomplete isolation login personalData schema settings | PersonalDataOutside
      PgDoctor: Finding Severity examine finder leaksOf
      PgEmbedded: DataDirectoryInUse DataDirectoryUnusable PgliteNotInstalled PgliteStartFailed layer layerWith make | Options PgEmbeddedError
      PgKeyVault: layer layerMigrations migrate | Options
      PgMigrator: MigrationError applied files latest layer layerWith pending run runWith | File Options
      PgServer: config deadlines layer | Options
      PgSilo: PgSilo PlacementMismatch admit exclude layer migrateAll name | Database Migrated Options
      PgStorage: layer layerWith | Options PgStorageError Retention
      PgTenant: Silence transaction
      PgTenantDirectory: PgTenantDirectory UnknownPlacement add layer layerWith"
    `)
  })

  it("of ./testing is this", () => {
    expect(describeEntry(testing)).toMatchInlineSnapshot(`
      "AdministrationStorageSuite: suite | Options
      Arbitraries: decision envelope event history id
      Canary: assertAbsent find make of overhear | Canary Finding LogLine Overheard SpanLine Telemetry
      DecisionScenario: empty given | Add Given Then When
      EventCompatibility: EventsIncompatible check suite | Options
      EventStorageSuite: suite | Options
      KeyVaultSuite: suite | Options
      Laws: LawBroken aggregate decisionsAreIdempotent decisionsAreTotal eventsRoundTrip foldChangesNothing foldIsConcatenative foldIsTotal forgettingCommutesWithUpcasting forgettingIsTotal logKeepsPersonalData personalDataStaysInPayloads snapshotsAreEquivalent statesRoundTrip tenantsAreIsolated upcastersAreTotal | AggregateOptions CheckOptions DecisionOptions IdempotenceOptions IsolationOptions Options UpcasterOptions
      OperationsSuite: suite | Options
      ProjectionKit: expect given | Add Given Then
      ProjectionStorageSuite: suite | Options
      Scenario: given | Given Outcome Then
      SnapshotStorageSuite: suite | Options
      TenantIsolationSuite: cases coreCases databaseCases layer lifecycleCases projectionCases snapshotCases suite | Options
      TenantScenario: isolated layer | Actions Options"
    `)
  })

  it("equals the exports of the modules when they are loaded", () => {
    for (const [modules, directory] of [main, http, pg, testing]) {
      for (const [module, exported] of Object.entries(modules)) {
        const { internal, values } = exportsOf(sourceOf(directory, module))
        const loaded = Object.keys(exported).filter((name) => !internal.has(name))
        assert.deepStrictEqual(loaded.toSorted(), [...values].toSorted(), module)
      }
    }
  })
})
