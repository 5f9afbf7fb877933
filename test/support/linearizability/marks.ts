/**
 * The object whose histories are checked: a stream of marks. Every event has a mark of its own, and the state lists them all, so
 * each answer shows everything that came before it.
 */
import { Schema } from "effect"
import * as Aggregate from "../../../src/domain/Aggregate.ts"
import type { Model, Operation } from "./checker.ts"

export const Marked = Schema.TaggedStruct("Marked", { mark: Schema.String })

const streamOfMarks = {
  id: Schema.String,
  state: Schema.Array(Schema.String),
  initial: [],
  events: [Marked]
}

export const Marks = Aggregate.make("Marks", streamOfMarks, { Marked: (state, { mark }) => [...state, mark] })

/** Another type of aggregate, with the same ids. */
export const OtherMarks = Aggregate.make("OtherMarks", streamOfMarks, {
  Marked: (state, { mark }) => [...state, mark]
})

/** Another state of the same streams. */
export const MarkCount = Aggregate.make(
  "Marks",
  { id: Schema.String, state: Schema.Int, initial: 0, events: [Marked] },
  { Marked: (count) => count + 1 }
)

/** A decision: its events whatever the state is, only on an even number of marks, a refusal, or no events. */
export const decisions = ["append", "appendIfEven", "refuse", "nothing"] as const

/** A command. */
export interface CommandInput {
  readonly do: "execute"
  readonly decision: (typeof decisions)[number]
  /** The form in which it decides. */
  readonly as: "value" | "result" | "effect"
  readonly marks: ReadonlyArray<string>
  readonly key?: string | undefined
  /** The version that the stream must have. */
  readonly expected?: number | undefined
  /** The end of the program's transaction that it is in. */
  readonly transaction?: "commits" | "rollsBack" | undefined
}

/** An append at any version without a repository, like that of another program. */
export interface PushInput {
  readonly do: "push"
  readonly marks: ReadonlyArray<string>
}

/** A read. */
export interface ReadInput {
  readonly do: "load" | "count" | "exists"
}

/** The loss of the stream's end, which other events replace. */
export interface LossInput {
  readonly do: "lose"
  readonly kept: number
  readonly marks: ReadonlyArray<string>
  /** Lost keys of commands. */
  readonly keys: ReadonlyArray<string>
}

export type Input = CommandInput | PushInput | ReadInput | LossInput

/** The answer to an operation. */
export type Output =
  | {
      readonly is: "done"
      readonly state: ReadonlyArray<string>
      readonly version: number
      readonly marks: ReadonlyArray<string>
      readonly replayed: boolean
    }
  | { readonly is: "refused"; readonly state: ReadonlyArray<string> }
  | { readonly is: "conflict"; readonly actual: number }
  | { readonly is: "loaded"; readonly state: ReadonlyArray<string>; readonly version: number }
  | { readonly is: "counted"; readonly count: number; readonly version: number }
  | { readonly is: "exists"; readonly exists: boolean }
  | { readonly is: "appended"; readonly version: number }
  /** Its events are somewhere in the stream. */
  | { readonly is: "carriedOut" }
  /** The stream as it was before the loss. */
  | { readonly is: "lost"; readonly state: ReadonlyArray<string> }

/** A command that was carried out under a key. */
interface Carried {
  /** The version of the stream behind it. */
  readonly version: number
  readonly events: number
}

/** A stream, and the keys of its commands. */
export interface Stream {
  readonly marks: ReadonlyArray<string>
  readonly keys: Readonly<Record<string, Carried>>
}

const same = (left: ReadonlyArray<string>, right: ReadonlyArray<string>): boolean =>
  left.length === right.length && left.every((mark, index) => mark === right[index])

/** The decided marks; undefined if the command is refused. */
export const decide = (
  { decision, marks: decided }: Pick<CommandInput, "decision" | "marks">,
  state: ReadonlyArray<string>
): ReadonlyArray<string> | undefined => {
  switch (decision) {
    case "append":
      return decided
    case "appendIfEven":
      return state.length % 2 === 0 ? decided : undefined
    case "nothing":
      return []
    case "refuse":
      return undefined
  }
}

const executed = (stream: Stream, input: CommandInput, output: Output | undefined): Stream | undefined => {
  const { expected, key, transaction } = input
  const before = key === undefined ? undefined : stream.keys[key]
  if (before !== undefined) {
    const first = stream.marks.slice(0, before.version)
    return output === undefined ||
      (output.is === "done" &&
        output.replayed &&
        output.version === before.version &&
        same(output.state, first) &&
        same(output.marks, first.slice(before.version - before.events)))
      ? stream
      : undefined
  }
  const { length } = stream.marks
  // After the last retry too, because nothing was appended.
  if (output?.is === "conflict") return output.actual === length ? stream : undefined
  if (expected !== undefined && expected !== length) return output === undefined ? stream : undefined
  const decided = decide(input, stream.marks)
  if (decided === undefined)
    return output === undefined || (output.is === "refused" && same(output.state, stream.marks))
      ? stream
      : undefined
  const state = [...stream.marks, ...decided]
  if (output !== undefined && output.is !== "carriedOut") {
    if (output.is !== "done" || !same(output.state, state) || output.version !== state.length)
      return undefined
    if (!same(output.marks, decided)) return undefined
  }
  if (transaction === "rollsBack") return stream
  if (key === undefined) return decided.length === 0 ? stream : { ...stream, marks: state }
  return {
    marks: state,
    keys: { ...stream.keys, [key]: { version: state.length, events: decided.length } }
  }
}

/** The sequential model of a stream. */
const model: Model<Stream, Input, Output> = {
  initial: { marks: [], keys: {} },
  step: (stream, input, output) => {
    const { length } = stream.marks
    switch (input.do) {
      case "execute":
        return executed(stream, input, output)
      case "push": {
        const next = { ...stream, marks: [...stream.marks, ...input.marks] }
        return output === undefined || (output.is === "appended" && output.version === next.marks.length)
          ? next
          : undefined
      }
      case "lose":
        if (output?.is === "lost" && !same(output.state, stream.marks)) return undefined
        return {
          marks: [...stream.marks.slice(0, input.kept), ...input.marks],
          keys: Object.fromEntries(Object.entries(stream.keys).filter(([key]) => !input.keys.includes(key)))
        }
      default:
        switch (output?.is) {
          case undefined:
            return stream
          case "loaded":
            return output.version === length && same(output.state, stream.marks) ? stream : undefined
          case "counted":
            return output.version === length && output.count === length ? stream : undefined
          case "exists":
            return output.exists === length > 0 ? stream : undefined
          default:
            return undefined
        }
    }
  },
  keyOf: ({ keys, marks: all }) =>
    `${all.join()} ${Object.entries(keys)
      .map(([key, { events, version }]) => `${key}:${version}:${events}`)
      .toSorted()
      .join()}`,
  isRead: (input) =>
    input.do === "load" ||
    input.do === "count" ||
    input.do === "exists" ||
    (input.do === "execute" &&
      input.key === undefined &&
      (input.transaction === "rollsBack" || input.decision === "refuse" || input.decision === "nothing"))
}

/**
 * The same model for a stream with known contents, each of which it had until its end was lost: its states are beginnings of
 * these. Every history contains this knowledge, in its losses and in a load at its end. Given beforehand, it saves the search for
 * places of operations without an answer.
 */
export const modelOf = (contents: ReadonlyArray<ReadonlyArray<string>>): Model<Stream, Input, Output> => ({
  ...model,
  step: (stream, input, output) => {
    const next = model.step(stream, input, output)
    if (next === undefined || next.marks === stream.marks) return next
    const isKnown = contents.some((content) => next.marks.every((mark, index) => content[index] === mark))
    return isKnown ? next : undefined
  }
})

/** An operation, and its place in a run. */
export interface Step extends Operation<Input, Output> {
  readonly id: number
  readonly process: number
  readonly fiber: number
  /** The object that it is on. */
  readonly on: string
}

/**
 * The operations of one answer. An append whose answer was lost is repeated, and its answer is the state of that later time. So it
 * counts as an append without an answer, and a load.
 */
export const separate = (step: Step): ReadonlyArray<Step> => {
  const { input, output } = step
  if (input.do !== "execute" || input.key !== undefined || input.marks.length === 0) return [step]
  if (output?.is !== "done" || !output.replayed) return [step]
  // It must have seen its own events.
  if (!input.marks.every((mark) => output.state.includes(mark))) return [step]
  const { state, version } = output
  return [
    { ...step, output: { is: "carriedOut" } },
    { ...step, input: { do: "load" }, output: { is: "loaded", state, version } }
  ]
}

const list = (all: ReadonlyArray<string>): string => `[${all.join(" ")}]`

const showInput = (input: Input): string => {
  switch (input.do) {
    case "execute":
      return [
        `execute ${input.decision} ${list(input.marks)} as ${input.as}`,
        ...(input.key === undefined ? [] : [`key ${input.key}`]),
        ...(input.expected === undefined ? [] : [`expecting ${input.expected}`]),
        ...(input.transaction === undefined ? [] : [`in a transaction that ${input.transaction}`])
      ].join(", ")
    case "push":
      return `append ${list(input.marks)}`
    case "lose":
      return `lose everything behind ${input.kept}, then append ${list(input.marks)}`
    default:
      return input.do
  }
}

const showOutput = (output: Output | undefined): string => {
  switch (output?.is) {
    case undefined:
      return "unknown"
    case "done":
      return `${list(output.state)} at ${output.version}${output.replayed ? ", replayed" : ""}`
    case "refused":
      return `refused on ${list(output.state)}`
    case "conflict":
      return `a conflict at ${output.actual}`
    case "loaded":
      return `${list(output.state)} at ${output.version}`
    case "counted":
      return `${output.count} at ${output.version}`
    case "exists":
      return String(output.exists)
    case "appended":
      return `version ${output.version}`
    case "carriedOut":
      return "carried out"
    case "lost":
      return `lost ${list(output.state)}`
  }
}

/** An operation as a line. */
export const show = ({ called, fiber, id, input, output, process, returned }: Step): string =>
  `  #${id} process ${process} fiber ${fiber}, ${called}-${returned ?? ""}: ${showInput(input)} -> ${showOutput(output)}`
