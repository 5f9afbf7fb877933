/** All tenants: the ends of their logs and their work. */
import type { JSX } from "preact"
import type { TenantPage } from "../../../operations/Looks.ts"
import { get } from "../api.ts"
import { type Column, List } from "../list.tsx"
import { usePages } from "../look.ts"
import { Count, Failure, Note, State, Time } from "../parts.tsx"
import { goTo, linkTo, place } from "../route.ts"

type Page = typeof TenantPage.Encoded
type Tenant = Page["tenants"][number]
type Next = NonNullable<Page["next"]>

const columns: ReadonlyArray<Column<Tenant>> = [
  {
    title: "Tenant",
    width: 3,
    cell: ({ tenantId }) => <a href={linkTo(tenantId, "log")}>{tenantId}</a>
  },
  { title: "Status", cell: ({ status }) => <State of={status} /> },
  { title: "Events", cell: ({ head }) => <Count of={head} /> },
  { title: "Last append", width: 1.5, cell: ({ lastAppendAt }) => <Time at={lastAppendAt} /> },
  { title: "Day", cell: ({ lastDay }) => <Count of={lastDay} /> },
  { title: "Week", cell: ({ lastWeek }) => <Count of={lastWeek} /> },
  {
    title: "Slowest projection",
    width: 1.5,
    cell: ({ slowest, tenantId }) =>
      slowest === null ? (
        "none"
      ) : (
        <a href={linkTo(tenantId, "projections")}>
          {slowest.projection} −{slowest.distance.toLocaleString()}
        </a>
      )
  },
  {
    title: "Dead letters",
    cell: ({ deadLetters, tenantId }) =>
      deadLetters === 0 ? "0" : <a href={linkTo(tenantId, "dead-letters")}>{deadLetters.toLocaleString()}</a>
  },
  {
    title: "Notes",
    width: 1.5,
    cell: ({ hold, move, quota }) =>
      [hold === null ? "" : "held", move === null ? "" : "moving", quota === null ? "" : "quota"]
        .filter((note) => note !== "")
        .join(", ")
  }
]

const orders = [
  ["id", "Id"],
  ["head", "Events"],
  ["lastAppend", "Last append"],
  ["deadLetters", "Dead letters"],
  ["distance", "Farthest behind"]
] as const

const statuses = ["active", "suspended", "importing", "moving", "moved", "erased"]

/** The list of tenants. */
export const Tenants = (): JSX.Element => {
  const { order = "id", prefix = "", status = "" } = place.value.query
  const { error, loading, more, next, rows } = usePages<Tenant, Next>(
    JSON.stringify([order, status, prefix]),
    async (after, stop) => {
      const page = await get<Page>(
        "/tenants",
        {
          order,
          statuses: status === "" ? undefined : [status],
          prefix,
          limit: 1000,
          afterValue: after?.value,
          afterTenant: after?.tenantId
        },
        stop
      )
      return { rows: page.tenants, next: page.next }
    }
  )
  const set = (changed: Record<string, string>) =>
    goTo(undefined, "tenants", { order, prefix, status, ...changed })
  return (
    <section aria-labelledby="title">
      <h1 id="title">Tenants</h1>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <label>
          Order
          <select value={order} onChange={({ currentTarget }) => set({ order: currentTarget.value })}>
            {orders.map(([value, title]) => (
              <option key={value} value={value}>
                {title}
              </option>
            ))}
          </select>
        </label>
        <label>
          Status
          <select value={status} onChange={({ currentTarget }) => set({ status: currentTarget.value })}>
            <option value="">all</option>
            {statuses.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
        <label>
          Beginning of the id
          <input
            value={prefix}
            pattern="[0-9a-f\-]*"
            onChange={({ currentTarget }) => set({ prefix: currentTarget.value })}
          />
        </label>
      </form>
      <Failure of={error} />
      <Note>
        {loading
          ? "Loading"
          : `${rows.length.toLocaleString()} tenants${next === null ? "" : " and more: scroll on"}`}
      </Note>
      <List
        label="Tenants"
        count={rows.length}
        columns={columns}
        row={(index) => rows[index]}
        onRange={(_, last) => {
          if (last > rows.length - 200) more()
        }}
      />
    </section>
  )
}
