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

/** The events up to a position: read ahead by the driver, or page by page. */
export const events = ({ at, storage }: Side, toPosition: number): Pages<EventRow> => {
  const range = { ...at, fromPosition: 1, toPosition }
  const pageByPage: Pages<EventRow> = pages(
    range.fromPosition,
    (fromPosition) => storage.readEvents({ ...range, fromPosition, limit: eventsPerPage }),
    (from, rows) => (rows.at(-1)?.position ?? from) + 1
  )
  return Stream.unwrap(
    Effect.map(storage.openEvents?.(range) ?? Effect.undefined, (reader) =>
      reader === undefined
        ? pageByPage
        : pages(
            undefined,
            () => reader.next(eventsPerPage),
            () => undefined
          )
    )
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
