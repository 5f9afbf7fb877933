/** The end that a log loses, and the events in its place. */
import type { Lost } from "./history.ts"
import { objects, type Plan } from "./plan.ts"

interface OfStream {
  readonly aggregateType: string
  readonly aggregateId: string
  readonly position: number
}

/** An event of the log. */
export interface LoggedMark extends OfStream {
  readonly mark: string
}

/** A loss, ready to be carried out. */
export interface Losses {
  /** The last position that remains. */
  readonly cut: number
  /** The marks after it, with their indexes in `objects`: the streams of lost events continue in turns. */
  readonly added: ReadonlyArray<{ readonly object: number; readonly mark: string }>
  readonly lost: ReadonlyArray<Lost>
}

/** The loss of the last events of a log. */
export const lossOf = (
  rows: ReadonlyArray<LoggedMark>,
  commands: ReadonlyArray<OfStream & { readonly key: string }>,
  { events, marks }: NonNullable<Plan["faults"]["loss"]>
): Losses => {
  const cut = Math.max(0, rows.length - events)
  const isOf = (object: number) => (row: OfStream) =>
    row.aggregateType === objects[object]?.type && row.aggregateId === objects[object].id
  const shortened = [...objects.keys()].filter((object) => rows.slice(cut).some(isOf(object)))
  const added = marks.flatMap((mark, index) => {
    const object = shortened[index % shortened.length]
    return object === undefined ? [] : [{ object, mark }]
  })
  const lost = [...objects.keys()].flatMap((object): ReadonlyArray<Lost> => {
    const keys = commands
      .filter((command) => isOf(object)(command) && command.position > cut)
      .map(({ key }) => key)
    if (keys.length === 0 && !shortened.includes(object)) return []
    const own = rows.filter(isOf(object))
    return [
      {
        object,
        do: "lose",
        before: own.map(({ mark }) => mark),
        kept: own.filter(({ position }) => position <= cut).length,
        marks: added.filter((one) => one.object === object).map(({ mark }) => mark),
        keys
      }
    ]
  })
  return { cut, added, lost }
}
