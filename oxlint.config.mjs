// The rules of the linter, and the rooms of src (docs/architecture.md): test/rooms.test.ts reads the lists from here.

/** From the top: a room imports rooms below it. */
export const rooms = [
  "cli",
  "testing",
  "cluster",
  "pg",
  "inspector",
  "operations",
  "http",
  "fleet",
  "lifecycle",
  "forgetting",
  "projection",
  "routed",
  "memory",
  "store",
  "driver",
  "telemetry",
  "domain",
  "internal"
]

/** Private files that another room may open, beside those of `internal`, the ground. */
export const opened = [
  "domain/codec/aggregateCodec",
  "domain/currentTenant",
  "domain/derivedIds",
  "domain/eventHistory",
  "domain/handlers",
  "domain/jsonEvent",
  "domain/statedTenants",
  "domain/storedTypes",
  "driver/codePoints",
  "driver/eventHash",
  "driver/expectedVersion",
  "driver/fairShare",
  "driver/moves",
  "driver/queryMatch",
  "driver/quotas",
  "driver/refusals",
  "driver/repeatable",
  "driver/storageFailure",
  "driver/tripleMap",
  "forgetting/carriedSeals",
  "forgetting/keyRecords",
  "forgetting/openVault",
  "forgetting/vaultFailures",
  "forgetting/envelope",
  "http/problemType",
  "lifecycle/archiveFormat",
  "pg/sqlErrors",
  "projection/hints",
  "routed/administration",
  "routed/events",
  "routed/projections",
  "routed/router",
  "routed/snapshots",
  "store/appendJson",
  "store/crossTenant",
  "store/decode",
  "store/encode",
  "store/importEvents",
  "store/queryTerms",
  "store/snapshotCodec",
  "telemetry/errorType",
  "telemetry/series",
  "telemetry/spanned"
]

const barrel = {
  regex: "(^|/)index\\.ts$",
  message: "Import the module, not the barrel: barrels make cycles."
}

/**
 * The patterns for a room, whose files reach other rooms by `up`.
 * @param {string} room
 * @param {string} up
 */
const patternsFor = (room, up) => {
  const above = rooms.slice(0, rooms.indexOf(room))
  return [
    barrel,
    ...(above.length === 0
      ? []
      : [
          {
            regex: `^(\\.\\./)+(${above.join("|")})/`,
            message: `Rooms import down the list only, and this one is above ${room}.`
          }
        ]),
    ...(room === "testing" || room === "pg" || room === "cli"
      ? []
      : [
          {
            regex: "^(@|vitest|node:)",
            message:
              "Only src/pg, src/testing and src/cli know a driver or Node: the rest runs on every platform."
          }
        ]),
    {
      group: [
        ...rooms.flatMap((other) =>
          other === "internal" ? [] : [`${up}${other}/[a-z]*.ts`, `${up}${other}/*/[a-z]*.ts`]
        ),
        ...opened.map((file) => `!${up}${file}.ts`)
      ],
      caseSensitive: true,
      message: "This file is private to its room: open its public module, or name it in `opened`."
    }
  ]
}

const roomOverrides = rooms.flatMap((room) => [
  {
    files: [`src/${room}/*.ts`],
    rules: { "no-restricted-imports": ["error", { patterns: patternsFor(room, "../") }] }
  },
  {
    files: [`src/${room}/*/*.ts`],
    rules: { "no-restricted-imports": ["error", { patterns: patternsFor(room, "../../") }] }
  }
])

export default {
  plugins: ["typescript", "unicorn", "oxc", "import", "promise", "node"],
  categories: { correctness: "error", suspicious: "error", perf: "error" },
  options: { typeAware: true, reportUnusedDisableDirectives: "error" },
  rules: {
    "import/no-cycle": "error",
    "import/no-duplicates": "error",
    "import/first": "error",
    "typescript/ban-ts-comment": ["error", { "ts-expect-error": "allow-with-description" }],
    "typescript/no-explicit-any": "error",
    "typescript/no-non-null-assertion": "error",
    "typescript/no-unsafe-argument": "error",
    "typescript/no-unsafe-assignment": "error",
    "typescript/no-unsafe-call": "error",
    "typescript/no-unsafe-function-type": "error",
    "typescript/no-unsafe-member-access": "error",
    "typescript/no-unsafe-return": "error",
    "typescript/no-misused-promises": "error",
    "typescript/no-deprecated": "error",
    "typescript/no-import-type-side-effects": "error",
    "typescript/only-throw-error": "error",
    "typescript/prefer-readonly": "error",
    "typescript/prefer-promise-reject-errors": "error",
    "typescript/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
    "typescript/use-unknown-in-catch-callback-variable": "error",
    "typescript/array-type": ["error", { default: "generic" }],
    "array-callback-return": "error",
    eqeqeq: "error",
    "no-console": "error",
    "no-empty": "error",
    "no-fallthrough": "error",
    "no-param-reassign": "error",
    "no-restricted-imports": [
      "error",
      {
        patterns: [barrel]
      }
    ],
    "no-self-compare": "error",
    "no-throw-literal": "error",
    "no-useless-return": "error",
    "no-var": "error",
    "object-shorthand": "error",
    "prefer-const": "error",
    "prefer-object-has-own": "error",

    // Effect tags its data with _tag.
    "no-underscore-dangle": "off",
    // tsc does it: noImplicitReturns.
    "typescript/consistent-return": "off",
    // Effect.gen's generators need not yield to be effects.
    "require-yield": "off",
    // A helper next to its only use reads better.
    "unicorn/consistent-function-scoping": "off",
    // Where a loop awaits, it means to.
    "no-await-in-loop": "off",
    // A callback of then() may be there for what it does, and Node's streams take callbacks.
    "promise/always-return": "off",
    "promise/no-callback-in-promise": "off",
    "promise/no-promise-in-callback": "off",
    // It does not see assignments in callbacks.
    "no-unmodified-loop-condition": "off",
    // Services and schema classes hold data and are spread like other data.
    "typescript/no-misused-spread": "off",
    // A type parameter that is used once may be there for inference, or for the caller to give.
    "typescript/no-unnecessary-type-parameters": "off",
    // Imports for their side effects are few and on purpose (tsc: noUncheckedSideEffectImports).
    "import/no-unassigned-import": "off"
  },
  overrides: [
    ...roomOverrides,
    {
      // The page is bundled for browsers, with the libraries of its own; the bundler runs where the package is built.
      files: ["src/inspector/page/**", "src/inspector/bundle.ts"],
      rules: { "no-restricted-imports": ["error", { patterns: [barrel] }] }
    },
    {
      files: ["test/**", "bench/**", "scripts/**"],
      rules: {
        // The inner `it` of it.layer is there to take the place of the outer one.
        "no-shadow": ["error", { allow: ["it"] }],
        "no-console": "off",
        "typescript/no-unsafe-type-assertion": "off"
      }
    },
    {
      // An example may end with Effect.runPromise(program), whose rejection ends the process.
      files: ["examples/**"],
      rules: { "no-console": "off", "typescript/no-floating-promises": "off" }
    }
  ],
  ignorePatterns: ["dist", "test/fixtures/consumer", "test/released"]
}
