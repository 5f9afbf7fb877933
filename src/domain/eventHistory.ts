/** The types and versions under which the events of an aggregate are stored, and the present events that each is read as. */
import type { Schema } from "effect"
import type { EventSchema, Tagged } from "./Event.ts"
import type * as Upcaster from "./Upcaster.ts"
import { eventTag } from "./eventTag.ts"

/** The next step from a version to present events. */
export type Next =
  /** The version is a present event. */
  | { readonly _tag: "Present" }
  /** The step leads to one event of another version. */
  | { readonly _tag: "To"; readonly step: Upcaster.Step<never, Tagged>; readonly node: Node }
  /** The step leads to any number of events of these types. */
  | {
      readonly _tag: "Into"
      readonly step: Upcaster.Step<never, ReadonlyArray<Tagged>>
      readonly targets: ReadonlyMap<string, Node>
    }

/** A version of an event type. */
export interface Node {
  readonly eventType: string
  readonly schemaVersion: number
  readonly schema: EventSchema
  next: Next
}

/** The stored event types of an aggregate. */
export interface History {
  /** All versions of all types, present and former. */
  readonly types: ReadonlyMap<string, ReadonlyMap<number, Node>>
  /** Types whose events are skipped. */
  readonly dropped: ReadonlySet<string>
}

/**
 * Combines the events of an aggregate and their upcasters. Throws if they contradict each other or leave a gap.
 */
export const history = (
  aggregateType: string,
  events: ReadonlyArray<EventSchema>,
  upcasters: ReadonlyArray<Upcaster.Any>
): History => {
  const fail = (problem: string): never => {
    throw new TypeError(`the upcasters of ${aggregateType}: ${problem}`)
  }
  const types = new Map<string, Map<number, Node>>()
  const bySchema = new Map<EventSchema, Node>()
  const dropped = new Set<string>()

  const add = (version: Omit<Upcaster.Version, "step">): Node => {
    const { eventType, schemaVersion, schema } = version
    const versions = types.get(eventType) ?? new Map<number, Node>()
    if (versions.has(schemaVersion)) {
      fail(
        `version ${schemaVersion} of ${eventType} is declared twice. If the type had another meaning before, continue after its former versions with Upcaster.from(…, { version }); to merge types into one, use "into"`
      )
    }
    if (bySchema.has(schema)) fail(`a schema of ${eventType} is declared in two places`)
    const node: Node = { eventType, schemaVersion, schema, next: { _tag: "Present" } }
    types.set(eventType, versions.set(schemaVersion, node))
    bySchema.set(schema, node)
    return node
  }

  const splits: Array<{ readonly from: Node; readonly into: Upcaster.Into }> = []
  for (const { versions, end } of upcasters) {
    let last: Node | undefined
    for (const version of versions) {
      const node = add(version)
      if (last !== undefined && version.step !== undefined)
        last.next = { _tag: "To", step: version.step, node }
      last = node
    }
    if ("dropped" in end) for (const eventType of end.dropped) dropped.add(eventType)
    else if (last !== undefined && "targets" in end) splits.push({ from: last, into: end })
    else if (last !== undefined && !events.includes(last.schema)) unfinished(last)
  }

  // An event without an upcaster has only one version.
  for (const schema of events)
    if (!bySchema.has(schema)) add({ eventType: eventTag(schema), schemaVersion: 1, schema })
  for (const { from, into } of splits)
    from.next = { _tag: "Into", step: into.step, targets: targetsOf(from, into) }
  for (const eventType of dropped) {
    if (types.has(eventType)) fail(`${eventType} is both dropped and declared`)
  }
  for (const [eventType, versions] of types) {
    const known = [...versions.keys()].toSorted((left, right) => left - right)
    const [oldest = 0, newest = 0] = [known[0], known.at(-1)]
    if (newest - oldest >= known.length)
      fail(`${eventType} has versions ${oldest} to ${newest}, but only ${known.join(", ")} are declared`)
  }
  for (const node of bySchema.values()) refuseCycle(node, [])
  return { types, dropped }

  function unfinished({ eventType, schemaVersion }: Node): never {
    return fail(
      `the history ends with version ${schemaVersion} of ${eventType}, which is ${
        events.some((schema) => eventTag(schema) === eventType)
          ? `not the schema of ${eventType} in its events: add the step to it`
          : `none of its events: add a step to one, or drop it with Upcaster.dropped("${eventType}")`
      }`
    )
  }

  function targetsOf(from: Node, into: Upcaster.Into): ReadonlyMap<string, Node> {
    const subject = `version ${from.schemaVersion} of ${from.eventType} goes into`
    const targets = new Map<string, Node>()
    for (const schema of into.targets) {
      const tag = eventTag(schema)
      const node =
        bySchema.get(schema) ?? fail(`${subject} a schema of ${tag} that is in no event or history`)
      if (targets.has(tag)) fail(`${subject} two versions of ${tag}`)
      targets.set(tag, node)
    }
    return targets
  }

  function refuseCycle(node: Node, before: ReadonlyArray<Node>): void {
    if (before.includes(node)) fail(`version ${node.schemaVersion} of ${node.eventType} leads to itself`)
    if (node.next._tag === "To") refuseCycle(node.next.node, [...before, node])
    if (node.next._tag === "Into")
      for (const target of node.next.targets.values()) refuseCycle(target, [...before, node])
  }
}

/** The present types that events of a version may be read as. */
export const presentTypes = ({ eventType, next }: Node): ReadonlyArray<string> => {
  switch (next._tag) {
    case "Present":
      return [eventType]
    case "To":
      return presentTypes(next.node)
    case "Into":
      return [...next.targets.values()].flatMap(presentTypes)
  }
}

/**
 * The declared history as JSON: each version of each type with its target, and the dropped types. Its text does not depend on
 * the order of declaration. It does not contain steps, because they are functions.
 */
export const outline = ({ dropped, types }: History): Schema.Json => ({
  types: Object.fromEntries(
    Array.from(types, ([eventType, versions]) => [
      eventType,
      Object.fromEntries(Array.from(versions, ([version, node]) => [version, outlineOf(node)]))
    ])
  ),
  dropped: [...dropped].toSorted()
})

const outlineOf = ({ next }: Node): Schema.Json => {
  switch (next._tag) {
    case "Present":
      return "present"
    case "To":
      return { to: [next.node.eventType, next.node.schemaVersion] }
    case "Into":
      return {
        into: Object.fromEntries(Array.from(next.targets, ([tag, { schemaVersion }]) => [tag, schemaVersion]))
      }
  }
}
