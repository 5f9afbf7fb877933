/** The log of a tenant: any of its positions, filters, and live. */
import type { JSX } from "preact"
import { useEffect, useState } from "preact/hooks"
import type { LogPage } from "../../../operations/Looks.ts"
import { follow, get, payloads, personal, type Query } from "../api.ts"
import { Detail, type Event, eventColumns } from "../events.tsx"
import { List } from "../list.tsx"
import { useLook, usePages } from "../look.ts"
import { Failure, Note, fieldOf, type Submit } from "../parts.tsx"
import { goTo, linkTo, place } from "../route.ts"
import { WholeLog } from "../wholeLog.ts"

type Page = typeof LogPage.Encoded

const fields = [
  ["eventTypes", "Type"],
  ["tags", "Tag"],
  ["aggregateType", "Aggregate"],
  ["aggregateId", "Aggregate id"],
  ["actor", "Actor"],
  ["correlationId", "Correlation"],
  ["recordedFrom", "Recorded from"],
  ["recordedBefore", "Recorded before"]
] as const

const isTime = (name: string): boolean => name.startsWith("recorded")

/** The filter as a query of the look; undefined without one. */
const filterOf = (query: Readonly<Record<string, string>>): Query | undefined => {
  const given = fields.flatMap(([name]) => {
    const value = query[name]
    if (value === undefined || value === "") return []
    return [[name, isTime(name) ? new Date(value).toISOString() : value] as const]
  })
  return given.length === 0 ? undefined : Object.fromEntries(given)
}

const pageSize = 200

/** Rows of the whole log by position, fetched where they are visible. */
const useWhole = (tenant: string, head: number) => {
  const [log] = useState(() => new WholeLog(tenant))
  const [, draw] = useState(0)
  useEffect(() => {
    log.onChange = () => draw((drawn) => drawn + 1)
    return () => log.stop()
  }, [log])
  return {
    error: log.error,
    row: (index: number) => log.at(head - index),
    onRange: (first: number, last: number) => log.want(head - last, head - first)
  }
}

const Whole = ({ head, tenant }: { readonly tenant: string; readonly head: number }): JSX.Element => {
  const { error, onRange, row } = useWhole(tenant, head)
  return (
    <>
      <Failure of={error} />
      <List label="Log" count={head} columns={eventColumns(tenant)} row={row} onRange={onRange} />
    </>
  )
}

const Filtered = ({ filter, tenant }: { readonly tenant: string; readonly filter: Query }): JSX.Element => {
  const { error, loading, more, next, rows } = usePages<Event, number>(
    JSON.stringify([tenant, filter]),
    async (from, stop) => {
      const page = await get<Page>(
        `/tenants/${tenant}/log`,
        { ...filter, from, limit: pageSize, scan: 100_000 },
        stop
      )
      return { rows: page.events, next: page.next }
    }
  )
  return (
    <>
      <Failure of={error} />
      <Note>
        {loading
          ? "Searching"
          : `${rows.length.toLocaleString()} events found${next === null ? "" : ", and more to search"}`}
      </Note>
      {next === null ? null : (
        <button type="button" onClick={more}>
          Search on from position {next.toLocaleString()}
        </button>
      )}
      <List
        label="Log"
        count={rows.length}
        columns={eventColumns(tenant)}
        row={(index) => rows[index]}
        onRange={(_, last) => {
          if (last > rows.length - 50 && rows.length > 0) more()
        }}
      />
    </>
  )
}

const kept = 500

const Live = ({
  after,
  filter,
  tenant
}: {
  readonly tenant: string
  readonly filter: Query
  /** The position after which it begins. */
  readonly after: number
}): JSX.Element => {
  const [events, setEvents] = useState<ReadonlyArray<Event>>([])
  const [error, setError] = useState<string | undefined>(undefined)
  useEffect(() => {
    const stop = new AbortController()
    const { recordedBefore: _, recordedFrom: __, ...selected } = filter
    follow<Event>(`/tenants/${tenant}/tail`, { ...selected, after }, stop.signal, (found) =>
      setEvents((known) => [...found.toReversed(), ...known].slice(0, kept))
    ).catch((failure: unknown) => {
      if (!stop.signal.aborted)
        setError(failure instanceof Error ? failure.message : "the live log has ended")
    })
    return () => stop.abort()
  }, [tenant, JSON.stringify(filter), payloads.value, personal.value])
  return (
    <>
      <Failure of={error} />
      <Note>Live: {events.length} new events</Note>
      <List
        label="Live log"
        count={events.length}
        columns={eventColumns(tenant)}
        row={(index) => events[index]}
        onRange={() => undefined}
      />
    </>
  )
}

const Shown = ({ position, tenant }: { readonly tenant: string; readonly position: number }): JSX.Element => {
  const { data, error } = useLook<Page>(`/tenants/${tenant}/log`, {
    direction: "forwards",
    from: position,
    limit: 1,
    scan: 1
  })
  const [event] = data?.events ?? []
  return (
    <>
      <Failure of={error} />
      {event === undefined ? null : <Detail event={event} tenant={tenant} />}
    </>
  )
}

/** The log. */
export const Log = ({ tenant }: { readonly tenant: string }): JSX.Element => {
  const { query } = place.value
  const filter = filterOf(query)
  const live = query["live"] !== undefined
  const show = Number(query["show"])
  const { again, data, error } = useLook<Page>(`/tenants/${tenant}/log`, { limit: 1, scan: 1 })
  const submit = (event: Submit) => {
    event.preventDefault()
    goTo(tenant, "log", Object.fromEntries(fields.map(([name]) => [name, fieldOf(event, name)])))
  }
  return (
    <section aria-labelledby="title">
      <h1 id="title">Log</h1>
      <form class="filters" onSubmit={submit} key={JSON.stringify(query)}>
        {fields.map(([name, title]) => (
          <label key={name}>
            {title}
            {isTime(name) ? (
              <input name={name} type="datetime-local" defaultValue={query[name] ?? ""} />
            ) : (
              <input name={name} defaultValue={query[name] ?? ""} />
            )}
          </label>
        ))}
        <button type="submit">Filter</button>
        <a role="button" href={linkTo(tenant, "log")}>
          All
        </a>
        <a
          role="button"
          aria-current={live ? "true" : undefined}
          href={linkTo(tenant, "log", live ? { ...query, live: undefined } : { ...query, live: "yes" })}
        >
          Live
        </a>
      </form>
      <Failure of={error} />
      {Number.isInteger(show) && show > 0 ? <Shown tenant={tenant} position={show} /> : null}
      {data === undefined ? null : live ? (
        <Live tenant={tenant} filter={filter ?? {}} after={data.head} />
      ) : filter === undefined ? (
        <>
          <Note>
            {data.head.toLocaleString()} events{" "}
            <button type="button" class="small" onClick={again}>
              Look again
            </button>
          </Note>
          <Whole
            key={`${tenant} ${data.head} ${payloads.value} ${String(personal.value)}`}
            tenant={tenant}
            head={data.head}
          />
        </>
      ) : (
        <Filtered tenant={tenant} filter={filter} />
      )}
    </section>
  )
}
