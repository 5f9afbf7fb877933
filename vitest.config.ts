import "./test/support/node20.ts"
import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

// Where .ci/run wants the results as JSON.
const results = process.env["VITEST_RESULTS"]

const long = "test/**/*.long.test.ts"

/** Tests whose number of rounds is a variable; the long run repeats them with larger ones. */
const repeated = [
  "test/pg/crash.test.ts",
  "test/driver/EventStorage.differential.test.ts",
  "test/driver/EventStorage.noninterference.test.ts",
  "test/pg/mutation.test.ts",
  "test/store/Repository.linearizability.test.ts",
  "test/lifecycle/TenantMove.faults.test.ts"
]
const rounds = {
  EVENTSOURCING_CRASH_ROUNDS: "20",
  EVENTSOURCING_PROPERTY_RUNS: "300",
  EVENTSOURCING_HISTORIES: "1000",
  EVENTSOURCING_ISOLATION_CASES: "all",
  BACKLOG: "100000",
  MOVE_STRIDE: "1"
}

/** Files that take longer than their size suggests, by which vitest orders files that it has not run before. */
const slow = [
  "test/pg/mutation",
  "test/testing/TenantIsolationSuite",
  "test/driver/EventStorage.noninterference",
  "test/package",
  "test/examples/helpdesk",
  "test/examples/saas.main",
  "test/examples/enrolment",
  "test/driver/EventStorage.differential",
  "test/pg/PgCheck",
  "test/pg/crash",
  "test/docs",
  "test/examples/silo",
  "test/examples/order-stats"
]

/** Starts slow files first, so that no worker has one at the end while the other is done. */
class SlowFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const isSlow = ({ moduleId }: TestSpecification) =>
      slow.some((name) => moduleId.includes(`${name}.test.ts`))
    // oxlint-disable-next-line unicorn/no-array-sort -- the sequencer's own method
    const sorted = await super.sort(files)
    return [...sorted.filter(isSlow), ...sorted.filter((file) => !isSlow(file))]
  }
}

// `npm test` runs everything but the long tests, `npm run test:long` those alone (the mode "long"), then what is built on the drivers
// on PGlite (the mode "pglite", see test/support/pgliteRuns.ts). The mode "all" runs everything.
export default defineConfig(({ mode }) => ({
  // The package's own name, in examples and tests, leads to src (see "paths").
  resolve: { tsconfigPaths: true },
  test: {
    include: mode === "long" ? [long, ...repeated] : ["test/**/*.test.ts", "examples/**/*.test.ts"],
    exclude: mode === "test" || mode === "pglite" ? ["**/node_modules/**", long] : ["**/node_modules/**"],
    ...(mode === "pglite" ? { testNamePattern: /PGlite/ } : {}),
    env: {
      ...(mode === "test" ? {} : { EVENTSOURCING_PGLITE: "yes" }),
      ...(mode === "long" ? { ...rounds, ...process.env } : {})
    },
    typecheck: {
      enabled: mode === "test" || mode === "all",
      include: ["test/**/*.test-d.ts"],
      tsconfig: "tsconfig.json",
      // Errors elsewhere are what `npm run check` is for.
      ignoreSourceErrors: true
    },
    globalSetup: [
      "test/support/TemporaryFolderSetup.ts",
      "test/support/PgServerSetup.ts",
      "test/support/LeftOutSetup.ts"
    ],
    // No test file changes what others share; loading everything anew for each takes a quarter of the time.
    isolate: false,
    sequence: { sequencer: SlowFirst },
    // Not more: a worker with an embedded PGlite takes almost a gigabyte.
    maxWorkers: Math.min(availableParallelism(), 4),
    testTimeout: mode === "test" ? 60_000 : 1_800_000,
    hookTimeout: 90_000,
    reporters: results === undefined ? ["default"] : ["default", ["json", { outputFile: results }]]
  }
}))
