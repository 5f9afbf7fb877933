import type { ExpectedVersion } from "./StoreError.ts"

/** True if a stream at a version (0 without events) meets an expectation. */
export const isExpected = (expected: ExpectedVersion, actual: number): boolean =>
  expected === "any" ||
  (expected === "streamExists" ? actual > 0 : actual === (expected === "noStream" ? 0 : expected))
