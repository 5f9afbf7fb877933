/** Folds the state of an aggregate at a version, and compares it with the one before. */
import { Effect, JsonPatch, Result, Schema } from "effect"
import type * as Aggregate from "../domain/Aggregate.ts"
import type { TenantId } from "../domain/Tenant.ts"
import type { EventStorage } from "../driver/EventStorage.ts"
import type { SnapshotStorage } from "../driver/SnapshotStorage.ts"
import type { ReadError } from "../driver/StoreError.ts"
import { type Aggregates, readPresent, timeOf } from "./eventView.ts"
import type { PatchStep, StateView } from "./Looks.ts"
import { type Grant, maskKey, shown } from "./PayloadGrant.ts"

/** A stream, and the version at which it is folded. */
export interface StateRequest {
  /** The stored name of the aggregate. */
  readonly aggregateType: string
  /** The stored id of the aggregate. */
  readonly aggregateId: string
  /** An integer from 0. A higher one than that of the stream is its end. Default: the end. */
  readonly version?: number | undefined
}

const pageSize = 500

const maxVersion = 2_147_483_647

/** The JSON of a state; null if its schema does not encode it. */
const jsonOf = (aggregate: Aggregate.Any, state: unknown): Schema.Json => {
  try {
    return Schema.encodeUnknownSync(Schema.toCodecJson(aggregate.state))(state)
  } catch {
    // Schemas are code of the program, and may throw.
    return null
  }
}

const maskPath = (path: string): string =>
  path
    .split("/")
    .map((part) => (/^(\d+|-|)$/.test(part) ? part : maskKey(part)))
    .join("/")

const differenceOf = (grant: Grant, before: Schema.Json, after: Schema.Json): ReadonlyArray<PatchStep> =>
  grant.payloads === "none"
    ? []
    : JsonPatch.get(before, after).map((step) => ({
        op: step.op,
        path: grant.payloads === "full" ? step.path : maskPath(step.path),
        value: step.op === "remove" ? null : shown(grant, step.value)
      }))

interface Folded {
  readonly version: number
  readonly before: unknown
  readonly state: unknown
  readonly unreadable: StateView["unreadable"]
}

export const makeStates = (
  events: EventStorage["Service"],
  snapshots: SnapshotStorage["Service"],
  aggregates: Aggregates
) => {
  const fold = Effect.fnUntraced(function* (
    aggregate: Aggregate.Any,
    key: { readonly tenantId: TenantId; readonly aggregateType: string; readonly aggregateId: string },
    toVersion: number,
    grant: Grant
  ): Effect.fn.Return<Folded, ReadError> {
    let folded: Folded = {
      version: 0,
      before: aggregate.initial,
      state: aggregate.initial,
      unreadable: null
    }
    while (folded.version < toVersion) {
      const { complete, rows } = yield* events.readStream({
        ...key,
        fromVersion: folded.version + 1,
        toVersion,
        direction: "forwards",
        limit: pageSize
      })
      for (const row of rows) {
        const read = readPresent(aggregate, row, grant)
        if (Result.isFailure(read) && !aggregate.skips.has(read.failure))
          return { ...folded, unreadable: { position: row.position, error: read.failure } }
        const present = Result.getOrElse(read, () => [])
        folded = {
          version: row.version,
          before: folded.state,
          state: aggregate.fold(present, folded.state),
          unreadable: null
        }
      }
      if (complete || rows.length === 0) break
    }
    return folded
  })

  return Effect.fnUntraced(function* (
    tenantId: TenantId,
    { aggregateId, aggregateType, version = maxVersion }: StateRequest,
    grant: Grant
  ): Effect.fn.Return<StateView, ReadError> {
    const key = { tenantId, aggregateType, aggregateId }
    const aggregate = aggregates.get(aggregateType)
    const latest = yield* events.streamVersion(key)
    const stored = yield* snapshots.load(key)
    const snapshot =
      stored === undefined
        ? null
        : {
            version: stored.version,
            position: stored.position,
            stateVersion: stored.stateVersion,
            takenAt: timeOf(stored.takenAt),
            characters: stored.state.length,
            current: aggregate !== undefined && aggregate.stateVersion === stored.stateVersion
          }
    const view = { aggregateType, aggregateId, latest, snapshot }
    if (aggregate === undefined || grant.payloads === "none")
      return {
        ...view,
        version: Math.min(version, latest),
        known: aggregate !== undefined,
        state: null,
        difference: [],
        unreadable: null
      }
    const folded = yield* fold(aggregate, key, Math.min(version, latest), grant)
    const after = jsonOf(aggregate, folded.state)
    return {
      ...view,
      version: folded.version,
      known: true,
      state: shown(grant, after),
      difference: differenceOf(grant, jsonOf(aggregate, folded.before), after),
      unreadable: folded.unreadable
    }
  })
}
