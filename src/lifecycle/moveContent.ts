/** Copies the content of a tenant from one storage to another, and compares both. */
import { Effect, Option, Schedule, Stream } from "effect"
import type {
  Administered,
  CommandKeyRow,
  DeadLetterRow,
  ImportError,
  ProgressRow,
  SubjectRow,
  TenantRecord
} from "../driver/AdministrationStorage.ts"
import type { EventRow, Page } from "../driver/EventStorage.ts"
import type { StorageUnavailable } from "../driver/StoreError.ts"
import { canonicalJson } from "../internal/canonicalJson.ts"
import * as content from "./content.ts"
import type { Side } from "./content.ts"
import * as eventLine from "./eventLine.ts"

/** A difference between source and target, as a sentence. */
export class Difference {
  readonly _tag = "Difference"
  readonly problem: string
  constructor(problem: string) {
    this.problem = problem
  }
}

/** A log that is no more than this many events ahead is copied under the fence. */
const shortTail = 500

/** Rounds of copying that do not shorten the tail, after which the fence is set all the same. */
const patience = 5

const all = <A, E>(pages: content.Pages<A, E>): Effect.Effect<ReadonlyArray<A>, E> =>
  Effect.map(Stream.runCollect(pages), (read) => read.flat())

const pageAfter = (
  { at, storage }: Side,
  position: number,
  toPosition: number
): Effect.Effect<Page<EventRow>, StorageUnavailable> =>
  storage.readEvents({ ...at, fromPosition: position + 1, toPosition, limit: content.eventsPerPage })

const subjectsOf = (side: Side) => all(content.subjects(side))

const lettersOf = (side: Side) => all(content.deadLetters(side))

const rowsOf = (side: Side, table: string) => all(content.tableRows(side, table))

const keysOf = (side: Side, fromPosition: number) => all(content.commandKeys(side, fromPosition))

const withoutTables = ({ tables: _tables, ...row }: ProgressRow): Omit<ProgressRow, "tables"> => row

const progressName = ({ projection, version }: ProgressRow): string => JSON.stringify([projection, version])

/** Durations until the expiry differ between two reads. */
const withoutExpiry = ({ expiresInMillis: _expires, ...row }: CommandKeyRow): string => canonicalJson(row)

const slices = <A>(rows: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(rows.length / content.rowsPerPage) }, (_, index) =>
    rows.slice(index * content.rowsPerPage, (index + 1) * content.rowsPerPage)
  )

/** The content of a tenant beside its log, without tables. */
interface Rest {
  /** Those with outcomes that were not copied ahead. */
  readonly keys: ReadonlyArray<CommandKeyRow>
  readonly subjects: ReadonlyArray<SubjectRow>
  readonly letters: ReadonlyArray<DeadLetterRow>
  readonly progress: ReadonlyArray<ProgressRow>
}

/** Copies a tenant in one run of its move. The token is that of the run: a run that was replaced writes nothing. */
export class Copy {
  readonly #source: Side
  readonly #target: Side
  readonly #token: string
  readonly #onPosition: (position: number, end: number) => Effect.Effect<void>
  /** The last position at the target. */
  #position: number
  /** Everything up to here was read back and is equal. */
  #compared = 0
  /** Keys with outcomes before this position are copied. */
  #keysUpTo = 0

  constructor(
    source: Side,
    target: Side,
    token: string,
    position: number,
    onPosition: (position: number, end: number) => Effect.Effect<void>
  ) {
    this.#source = source
    this.#target = target
    this.#token = token
    this.#position = position
    this.#onPosition = onPosition
  }

  get position(): number {
    return this.#position
  }

  #write(): {
    readonly accessId: string
    readonly tenantId: Administered["tenantId"]
    readonly token: string
  } {
    return { ...this.#target.at, token: this.#token }
  }

  /** Copies events up to a position, and reads back what the target has. */
  readonly events = Effect.fnUntraced({ self: this }, function* (end: number): Effect.fn.Return<
    void,
    Difference | ImportError
  > {
    while (this.#compared < end) {
      const { rows } = yield* pageAfter(this.#source, this.#compared, end)
      const last = rows.at(-1)?.position
      if (last === undefined)
        return yield* Effect.fail(new Difference(`the source has no event at position ${this.#compared + 1}`))
      const missing = rows.slice(Math.max(this.#position - this.#compared, 0))
      if (missing.length > 0)
        this.#position = yield* this.#target.storage.writeEvents({ ...this.#write(), events: missing })
      yield* this.#compare(rows, last)
      this.#compared = last
      yield* this.#onPosition(last, end)
    }
  })

  readonly #compare = Effect.fnUntraced(
    { self: this },
    function* (
      rows: ReadonlyArray<EventRow>,
      last: number
    ): Effect.fn.Return<void, Difference | StorageUnavailable> {
      let index = 0
      while (index < rows.length) {
        const { rows: copies } = yield* pageAfter(this.#target, this.#compared + index, last)
        for (const copy of copies) {
          const row = rows[index++]
          if (row === undefined || eventLine.encode(row) !== eventLine.encode(copy))
            return yield* Effect.fail(
              new Difference(`the event at position ${copy.position} differs at the target`)
            )
        }
        if (copies.length === 0)
          return yield* Effect.fail(
            new Difference(`the target has no event at position ${this.#compared + index + 1}`)
          )
      }
    }
  )

  /** Copies while appends go on, until few events are missing, and the command keys up to then. */
  readonly ahead: Effect.Effect<void, Difference | ImportError> = Effect.gen({ self: this }, function* () {
    let last = Infinity
    for (let stalled = 0; stalled < patience;) {
      const head = (yield* this.#source.storage.tenant(this.#source.at))?.position ?? 0
      const missing = head - this.#compared
      if (missing <= shortTail && last < Infinity) break
      if (missing >= last / 2) stalled++
      last = missing
      yield* this.events(head)
    }
    const upTo = this.#compared
    yield* this.#keys(this.#keysUpTo)
    // a key without events has the position of the head, which this may have been
    this.#keysUpTo = upTo
  })

  readonly #keys = Effect.fnUntraced({ self: this }, function* (fromPosition: number) {
    const keys = yield* keysOf(this.#source, fromPosition)
    for (const part of slices(keys))
      yield* this.#target.storage.writeCommandKeys({ ...this.#write(), keys: part })
    return keys
  })

  /** Copies the rest of a log that does not grow any more, and everything beside it. */
  readonly rest = Effect.fnUntraced({ self: this }, function* (end: number): Effect.fn.Return<
    void,
    Difference | ImportError
  > {
    yield* this.events(end)
    const keys = yield* this.#keys(this.#keysUpTo)
    const subjects = yield* this.#subjects()
    const progress = yield* content.progress(this.#source)
    const letters = (yield* lettersOf(this.#source)).filter(content.isCarried(progress))
    const { storage } = this.#target
    yield* storage.writeDeadLetters({ ...this.#write(), letters })
    yield* storage.writeProgress({ ...this.#write(), progress: progress.map(withoutTables) })
    yield* this.#tables()
    yield* this.#compareRest(end, { keys, subjects, letters, progress })
  })

  /** Copies the subjects that differ. Rows of subjects are never removed, so that none is left over at the target. */
  readonly #subjects = Effect.fnUntraced({ self: this }, function* (): Effect.fn.Return<
    ReadonlyArray<SubjectRow>,
    Difference | ImportError
  > {
    const subjects = yield* subjectsOf(this.#source)
    const forgotten = (yield* this.#source.storage.tenant(this.#source.at))?.forgotten ?? 0
    const copies = new Set((yield* subjectsOf(this.#target)).map((row) => canonicalJson(row)))
    const missing = subjects.filter((row) => !copies.has(canonicalJson(row)))
    for (const part of missing.length === 0 ? [[]] : slices(missing))
      yield* this.#target.storage.writeSubjects({ ...this.#write(), forgotten, subjects: part })
    return subjects
  })

  readonly #tables = Effect.fnUntraced({ self: this }, function* (): Effect.fn.Return<
    void,
    Difference | ImportError
  > {
    const tables = yield* this.#source.storage.tables(this.#source.at)
    for (const { table } of tables.filter(({ handling }) => handling === "carried")) {
      const rows = yield* rowsOf(this.#source, table)
      if (isSame(rows, yield* rowsOf(this.#target, table))) continue
      const { storage } = this.#target
      for (const [index, part] of (rows.length === 0 ? [[]] : slices(rows)).entries())
        yield* storage.writeTable({ ...this.#write(), table, rows: part, replace: index === 0 })
      if (!isSame(rows, yield* rowsOf(this.#target, table)))
        return yield* Effect.fail(
          new Difference(`the rows of table ${table} differ at the target: give it the same columns there`)
        )
    }
  })

  /**
   * Copies carried tables again that were changed since the fence, by transactions without appends. The tenant has left the source,
   * so that no other transaction begins there; those that are open are awaited.
   */
  readonly lateRows = Effect.fnUntraced({ self: this }, function* (waitMillis: number): Effect.fn.Return<
    void,
    Difference | ImportError
  > {
    const { at, storage } = this.#source
    if (!(yield* storage.tables(at)).some(({ handling }) => handling === "carried")) return
    const before = yield* storage.openTransactions(at)
    const stillOpen = Effect.map(storage.openTransactions(at), (open) =>
      before.filter((one) => open.includes(one))
    )
    const left = yield* Effect.repeat(stillOpen, {
      until: (open) => open.length === 0,
      schedule: Schedule.spaced("10 millis")
    }).pipe(Effect.timeoutOption(waitMillis))
    if (before.length > 0 && Option.isNone(left))
      yield* Effect.logWarning(
        "A transaction that began before the move is still open: its changes of carried tables are lost if it commits now"
      )
    yield* this.#tables()
  })

  readonly #compareRest = Effect.fnUntraced(
    { self: this },
    function* (
      end: number,
      { keys, letters, progress, subjects }: Rest
    ): Effect.fn.Return<void, Difference | StorageUnavailable> {
      const source = yield* this.#source.storage.tenant(this.#source.at)
      const target = yield* this.#target.storage.tenant(this.#target.at)
      const differ = (part: string) => Effect.fail(new Difference(`${part} at the target`))
      if (!isSameEnd(source, target, end)) return yield* differ("the log has another end")
      const copies = new Set((yield* keysOf(this.#target, this.#keysUpTo)).map(withoutExpiry))
      const expired = new Set(keys.filter(({ expiresInMillis }) => expiresInMillis < 60_000))
      if (keys.some((key) => !expired.has(key) && !copies.has(withoutExpiry(key))))
        return yield* differ("a command key differs")
      if (
        source?.forgotten !== target?.forgotten ||
        canonicalJson(yield* subjectsOf(this.#target)) !== canonicalJson(subjects)
      )
        return yield* differ("the forgotten subjects differ")
      if (canonicalJson(yield* lettersOf(this.#target)) !== canonicalJson(letters))
        return yield* differ("the dead letters differ")
      // a projection that was retired meanwhile has left its progress only here
      const names = new Set(progress.map(progressName))
      const written = (yield* content.progress(this.#target))
        .filter((row) => names.has(progressName(row)))
        .map(withoutTables)
      if (canonicalJson(written) !== canonicalJson(progress.map(withoutTables)))
        return yield* differ("the progress of projections differs")
    }
  )
}

const isSame = (rows: ReadonlyArray<string>, others: ReadonlyArray<string>): boolean =>
  rows.length === others.length && rows.every((row, index) => row === others[index])

const isSameEnd = (
  source: TenantRecord | undefined,
  target: TenantRecord | undefined,
  end: number
): boolean =>
  source !== undefined &&
  target !== undefined &&
  source.position === end &&
  target.position === end &&
  source.lastEventId === target.lastEventId &&
  source.lastHash === target.lastHash
