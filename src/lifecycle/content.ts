/** The content of a tenant in a storage, page by page. */
import { Effect, Option, Stream } from "effect"
import type {
  Administered,
  AdministrationStorage,
  CommandKeyRow,
  DeadLetterRow,
  ProgressRow,
  SubjectRow,
  TenantStateConflict
} from "../driver/AdministrationStorage.ts"
import type { EventRow, Page } from "../driver/EventStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"

/** A tenant in one storage, with the access under which it is administered there. */
export interface Side {
  readonly storage: AdministrationStorage["Service"]
  readonly at: Administered
}

/** Pages of rows. */
export type Pages<A, E = StorageUnavailable> = Stream.Stream<ReadonlyArray<A>, E>

/** Number of events in a page. */
export const eventsPerPage = 2000

/** Number of other rows in a page. */
export const rowsPerPage = 1000

/** The pages of a list. A page's state is that of the next one. */
const pages = <A, S, E>(
  start: S,
  read: (state: S) => Effect.Effect<Page<A>, E>,
  after: (state: S, rows: ReadonlyArray<A>) => S
): Pages<A, E> =>
  Stream.paginate(start, (state) =>
    Effect.map(read(state), ({ complete, rows }) => [
      rows.length === 0 ? [] : [rows],
      complete || rows.length === 0 ? Option.none() : Option.some(after(state, rows))
    ])
  )

/** Number of pages that are read at the same time, so that the database works while a page becomes lines. */
const pagesAtOnce = 2

/** The events up to a position, each page in another form. */
export const events = <A>(
  { at, storage }: Side,
  toPosition: number,
  form: (rows: ReadonlyArray<EventRow>) => A
): Stream.Stream<A, StorageUnavailable> => {
  /** A page may be shorter than its part of the log. */
  const read = Effect.fnUntraced(function* (first: number) {
    const forms: Array<A> = []
    const last = Math.min(first + eventsPerPage - 1, toPosition)
    for (let next = first; next <= last;) {
      const request = { ...at, fromPosition: next, toPosition: last, limit: eventsPerPage }
      const { rows } = yield* storage.readEvents(request)
      const end = rows.at(-1)?.position
      if (end === undefined) break
      forms.push(form(rows))
      next = end + 1
    }
    return forms
  })
  return Stream.range(0, Math.ceil(toPosition / eventsPerPage) - 1, 1).pipe(
    Stream.mapEffect((part) => read(part * eventsPerPage + 1), { concurrency: pagesAtOnce }),
    Stream.flattenIterable
  )
}

/** The unexpired command keys with outcomes from a position on; of all by default. */
export const commandKeys = ({ at, storage }: Side, fromPosition?: number): Pages<CommandKeyRow> =>
  pages(
    undefined as string | undefined,
    (after) => storage.readCommandKeys({ ...at, after, limit: rowsPerPage, fromPosition }),
    (_, rows) => rows.at(-1)?.key
  )

/** The subjects that were forgotten or held. */
export const subjects = ({ at, storage }: Side): Pages<SubjectRow> =>
  pages(
    undefined as string | undefined,
    (after) => storage.subjects({ ...at, after, limit: rowsPerPage }),
    (_, rows) => rows.at(-1)?.subject
  )

/** The dead letters, discarded ones included. */
export const deadLetters = ({ at, storage }: Side): Pages<DeadLetterRow> =>
  pages(
    0,
    (after) => storage.readDeadLetters({ ...at, after, limit: rowsPerPage }),
    (after, rows) => after + rows.length
  )

/** The progress of what acts outside. Read models are rebuilt, and have their own. */
export const progress = ({
  at,
  storage
}: Side): Effect.Effect<ReadonlyArray<ProgressRow>, StorageUnavailable> =>
  Effect.map(storage.readProgress(at), (rows) => rows.filter(({ tables }) => tables.length === 0))

/** True for dead letters that go with this progress; those of read models follow from the log again, unless they were discarded. */
export const isCarried = (
  rows: ReadonlyArray<Pick<ProgressRow, "projection">>
): ((letter: DeadLetterRow) => boolean) => {
  const names = new Set(rows.map(({ projection }) => projection))
  return ({ discarded, projection }) => discarded !== undefined || names.has(projection)
}

/** The rows of a carried table, each as JSON. */
export const tableRows = (
  { at, storage }: Side,
  table: string
): Pages<string, StorageUnavailable | TenantStateConflict> =>
  pages(
    undefined as string | undefined,
    (after) => storage.readTable({ ...at, table, after, limit: rowsPerPage }),
    (_, rows) => rows.at(-1)
  )
