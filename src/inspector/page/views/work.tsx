/** Dead letters, subjects, the chain and the record of accesses. */
import type { JSX } from "preact"
import type { AccessPage, ChainView, DeadLetterGroups, SubjectPage } from "../../../operations/Looks.ts"
import { Act } from "../actions.tsx"
import { get } from "../api.ts"
import { type Column, List } from "../list.tsx"
import { useLook, usePages } from "../look.ts"
import { Facts, Failure, Note, Time, fieldOf, type Submit } from "../parts.tsx"
import { goTo, linkTo, place } from "../route.ts"

type Groups = typeof DeadLetterGroups.Encoded
type Subjects = typeof SubjectPage.Encoded
type Subject = Subjects["subjects"][number]
type Accesses = typeof AccessPage.Encoded
type Access = Accesses["accesses"][number]

/** The dead letters of a group, for an action. */
const filterOf = ({ error, frame, kind, projection, version }: Groups["groups"][number]) => ({
  projection,
  version,
  error,
  ...(kind === null ? {} : { kind }),
  ...(frame === null ? {} : { frame })
})

/** Dead letters by their common cause. */
export const DeadLetters = ({ tenant }: { readonly tenant: string }): JSX.Element => {
  const { again, data, error } = useLook<Groups>(`/tenants/${tenant}/dead-letters`)
  return (
    <section aria-labelledby="title">
      <h1 id="title">Dead letters</h1>
      <Failure of={error} />
      {data === undefined ? null : (
        <>
          <Note>
            {data.events.toLocaleString()} dead letters in {data.groups.length} groups
            {data.complete ? "" : ", and more that were not read"}
          </Note>
          {data.groups.map((group) => (
            <article
              key={JSON.stringify([group.projection, group.version, group.kind, group.error, group.frame])}
            >
              <h2>
                {group.events.toLocaleString()} × {group.error}
              </h2>
              <Facts
                of={[
                  ["Projection", `${group.projection} version ${group.version}`],
                  ["Kind", group.kind ?? "no longer kept"],
                  ["Frame", <code key="frame">{group.frame ?? "no longer kept"}</code>],
                  ["First", <Time key="first" at={group.firstAt} />],
                  ["Last", <Time key="last" at={group.lastAt} />],
                  [
                    "Examples",
                    <span key="examples">
                      {group.examples.map(({ position }) => (
                        <span key={position}>
                          <a href={linkTo(tenant, "log", { show: position, from: position })}>
                            {position}
                          </a>{" "}
                        </span>
                      ))}
                    </span>
                  ]
                ]}
              />
              {(["retryDeadLetters", "discardDeadLetters"] as const).map((name) => (
                <Act
                  key={name}
                  tenant={tenant}
                  name={name}
                  title={name === "retryDeadLetters" ? "Retry" : "Discard"}
                  parameters={filterOf(group)}
                  onDone={again}
                />
              ))}
            </article>
          ))}
        </>
      )}
    </section>
  )
}

const subjectColumns: ReadonlyArray<Column<Subject>> = [
  { title: "Subject", width: 2, cell: ({ subject }) => subject },
  {
    title: "Forgotten",
    width: 2,
    cell: ({ forgotten, underWay }) =>
      forgotten === null ? underWay ? "under way" : "no" : <Time at={forgotten.forgottenAt} />
  },
  { title: "By", cell: ({ forgotten }) => forgotten?.actor ?? "" },
  { title: "Reason", width: 2, cell: ({ forgotten }) => forgotten?.reason ?? "" },
  {
    title: "Held",
    width: 2,
    cell: ({ hold }) => (hold === null ? "no" : `${hold.reason} (${hold.actor})`)
  }
]

/** People who were forgotten or are held. */
export const SubjectsView = ({ tenant }: { readonly tenant: string }): JSX.Element => {
  const { error, loading, more, rows } = usePages<Subject, string>(
    `subjects ${tenant}`,
    async (after, stop) => {
      const page = await get<Subjects>(`/tenants/${tenant}/subjects`, { after, limit: 500 }, stop)
      return { rows: page.subjects, next: page.next }
    }
  )
  return (
    <section aria-labelledby="title">
      <h1 id="title">Subjects</h1>
      <Failure of={error} />
      <Note>
        {loading ? "Loading" : `${rows.length.toLocaleString()} people who were forgotten or are held`}
      </Note>
      <List
        label="Subjects"
        count={rows.length}
        columns={subjectColumns}
        row={(index) => rows[index]}
        onRange={(_, last) => {
          if (last > rows.length - 100) more()
        }}
      />
    </section>
  )
}

/** The hash chain. */
export const Chain = ({ tenant }: { readonly tenant: string }): JSX.Element => {
  const { again, data, error } = useLook<typeof ChainView.Encoded | null>(`/tenants/${tenant}/chain`)
  return (
    <section aria-labelledby="title">
      <h1 id="title">Chain</h1>
      <Failure of={error} />
      {data === null ? <Note>This tenant is not known.</Note> : null}
      {data === undefined || data === null ? null : (
        <>
          <Note>
            {data.started ? "The chain was started. It is not verified here." : "The chain was not started."}
          </Note>
          <Facts
            of={[
              ["First position with a hash", data.from ?? "none"],
              ["Head", data.head],
              ["Event", <code key="event">{data.eventId ?? "none"}</code>],
              ["Hash", <code key="hash">{data.hash ?? "none"}</code>]
            ]}
          />
          {data.started ? <Act tenant={tenant} name="verify" title="Verify" onDone={again} /> : null}
        </>
      )}
    </section>
  )
}

const accessColumns: ReadonlyArray<Column<Access>> = [
  { title: "Time", width: 2, cell: ({ accessedAt }) => <Time at={accessedAt} /> },
  { title: "Actor", cell: ({ actor }) => actor },
  { title: "Reason", width: 2, cell: ({ reason }) => reason },
  { title: "Operation", width: 5, cell: ({ operation }) => operation }
]

/** The record of looks and operations, of all tenants or of one. */
export const AccessesView = ({ tenant }: { readonly tenant: string | undefined }): JSX.Element => {
  const { actor = "", operation = "" } = place.value.query
  const { error, loading, more, next, rows } = usePages<Access, string>(
    JSON.stringify(["accesses", tenant, actor, operation]),
    async (before, stop) => {
      const page = await get<Accesses>(
        "/accesses",
        { tenantId: tenant, actor, operation, before, limit: 500 },
        stop
      )
      return { rows: page.accesses, next: page.next }
    }
  )
  const submit = (event: Submit) => {
    event.preventDefault()
    goTo(tenant, "accesses", {
      actor: fieldOf(event, "actor"),
      operation: fieldOf(event, "operation")
    })
  }
  return (
    <section aria-labelledby="title">
      <h1 id="title">Record of accesses</h1>
      <form class="filters" onSubmit={submit} key={`${actor} ${operation}`}>
        <label>
          Actor
          <input name="actor" defaultValue={actor} />
        </label>
        <label>
          Beginning of the operation
          <input name="operation" defaultValue={operation} />
        </label>
        <button type="submit">Filter</button>
      </form>
      <Failure of={error} />
      <Note>
        {loading
          ? "Loading"
          : `${rows.length.toLocaleString()} records${next === null ? "" : ", and more: scroll on"}`}
      </Note>
      <List
        label="Record of accesses"
        count={rows.length}
        columns={accessColumns}
        row={(index) => rows[index]}
        onRange={(_, last) => {
          if (last > rows.length - 100) more()
        }}
      />
    </section>
  )
}
