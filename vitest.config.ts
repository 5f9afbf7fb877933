import "./test/support/node20.ts"
import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"

// Where .ci/run wants the results as JSON.
const results = process.env["VITEST_RESULTS"]

export default defineConfig({
  // The package's own name, in examples and tests, leads to src (see "paths").
  resolve: { tsconfigPaths: true },
  test: {
    include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
    typecheck: {
      enabled: true,
      include: ["test/**/*.test-d.ts"],
      tsconfig: "tsconfig.json",
      // Errors elsewhere are what `npm run check` is for.
      ignoreSourceErrors: true
    },
    globalSetup: "test/support/PgServerSetup.ts",
    // No test file changes what others share; loading everything anew for each takes a quarter of the time.
    isolate: false,
    // Not more: a worker with an embedded PGlite takes almost a gigabyte.
    maxWorkers: Math.min(availableParallelism(), 4),
    testTimeout: 60_000,
    hookTimeout: 90_000,
    reporters: results === undefined ? ["default"] : ["default", ["json", { outputFile: results }]]
  }
})
