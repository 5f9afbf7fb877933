import type { ExpectedVersion } from "./StoreError.ts"

/** True if the actual version of a stream (0 without events) is the expected one. */
export const isExpected = (expected: ExpectedVersion, actual: number): boolean =>
  expected === "any" ||
  (expected === "streamExists" ? actual > 0 : actual === (expected === "noStream" ? 0 : expected))
