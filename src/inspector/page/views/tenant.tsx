/** One tenant: its status, its work, its quota and its holds. */
import type { JSX } from "preact"
import type { TenantPage } from "../../../operations/Looks.ts"
import { Act } from "../actions.tsx"
import { useLook } from "../look.ts"
import { Count, Facts, Failure, Note, State, Time } from "../parts.tsx"

/** A tenant, and the actions on it as a whole. */
export const TenantView = ({ tenant }: { readonly tenant: string }): JSX.Element => {
  const { again, data, error } = useLook<typeof TenantPage.Encoded>("/tenants", { prefix: tenant, limit: 1 })
  const [found] = data?.tenants ?? []
  const request = { tenant, onDone: again }
  return (
    <section aria-labelledby="title">
      <h1 id="title">Tenant</h1>
      <Failure of={error} />
      {data !== undefined && found === undefined ? <Note>This tenant is not known.</Note> : null}
      {found === undefined ? null : (
        <>
          <Facts
            of={[
              ["Status", <State key="status" of={found.status} />],
              ["Registered", <Time key="created" at={found.createdAt} />],
              ["Events", <Count key="head" of={found.head} />],
              ["Last append", <Time key="append" at={found.lastAppendAt} />],
              ["Events of a day", found.lastDay],
              ["Events of a week", found.lastWeek],
              ["Dead letters", found.deadLetters],
              [
                "Farthest behind",
                found.slowest === null ? "none" : `${found.slowest.projection} −${found.slowest.distance}`
              ],
              ["Quota", found.quota === null ? "none" : JSON.stringify(found.quota)],
              ["Legal hold", found.hold === null ? "none" : `${found.hold.reason} (${found.hold.actor})`],
              ["Move", found.move ?? "none"]
            ]}
          />
          <div class="filters">
            {found.status === "active" ? <Act {...request} name="suspendTenant" title="Suspend" /> : null}
            {found.status === "suspended" ? <Act {...request} name="resumeTenant" title="Resume" /> : null}
          </div>
        </>
      )}
    </section>
  )
}
