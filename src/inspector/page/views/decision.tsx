/** The events that the query of a decision matches. */
import type { JSX } from "preact"
import { useEffect, useState } from "preact/hooks"
import type { LogPage } from "../../../operations/Looks.ts"
import { payloads, personal, post } from "../api.ts"
import { eventColumns } from "../events.tsx"
import { List } from "../list.tsx"
import { Failure, Note, fieldOf, type Submit } from "../parts.tsx"
import { goTo, linkTo, place } from "../route.ts"

type Page = typeof LogPage.Encoded

const words = (text: string): ReadonlyArray<string> => text.split(/[\s,]+/).filter((word) => word !== "")

/** One item a line: types before a colon, tags after it. */
const itemsOf = (text: string) =>
  text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const colon = line.indexOf(" : ")
      const [types, tags] = colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 3)]
      const eventTypes = words(types)
      const anyType = eventTypes.length === 0 || eventTypes[0] === "*"
      return anyType ? { tags: words(tags) } : { eventTypes, tags: words(tags) }
    })

/** A query and the events that it matches. */
export const Decision = ({ tenant }: { readonly tenant: string }): JSX.Element => {
  const { from, items = "" } = place.value.query
  const [page, setPage] = useState<Page | undefined>(undefined)
  const [error, setError] = useState<string | undefined>(undefined)
  useEffect(() => {
    setPage(undefined)
    setError(undefined)
    if (items === "") return
    post<Page>(`/tenants/${tenant}/decision`, {
      items: itemsOf(items),
      limit: 500,
      ...(from === undefined ? {} : { from: Number(from) })
    }).then(setPage, (failure: unknown) => setError(failure instanceof Error ? failure.message : "failed"))
  }, [tenant, items, from, payloads.value, personal.value])
  const submit = (event: Submit) => {
    event.preventDefault()
    goTo(tenant, "decision", { items: fieldOf(event, "items") })
  }
  return (
    <section aria-labelledby="title">
      <h1 id="title">Decision</h1>
      <form onSubmit={submit} key={items}>
        <label>
          Query: an item a line, its types, then “ : ” and its tags. * is any type.
          <textarea
            name="items"
            rows={3}
            required
            defaultValue={items}
            placeholder="OrderPlaced : customer:7"
          />
        </label>
        <button type="submit">Match</button>
      </form>
      <Failure of={error} />
      {page === undefined ? null : (
        <>
          <Note>
            {page.events.length} events match in {page.scanned.toLocaleString()} positions; the last one is at{" "}
            {page.events.at(-1)?.position.toLocaleString() ?? "no position"}
          </Note>
          {page.next === null ? null : (
            <a href={linkTo(tenant, "decision", { items, from: page.next })}>
              Search on from position {page.next.toLocaleString()}
            </a>
          )}
          <List
            label="Matching events"
            count={page.events.length}
            columns={eventColumns(tenant)}
            row={(index) => page.events[index]}
            onRange={() => undefined}
          />
        </>
      )}
    </section>
  )
}
