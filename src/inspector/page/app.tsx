/** The frame of the page: the tenant first, then the views, the reason and the payloads. */
import type { JSX } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import type { TenantPage } from "../../operations/Looks.ts"
import { get, giveReason, me, payloads, personal, reason, signIn } from "./api.ts"
import { Failure, fieldOf, type Submit } from "./parts.tsx"
import { goTo, linkTo, place } from "./route.ts"
import { Causes } from "./views/causes.tsx"
import { Decision } from "./views/decision.tsx"
import { Log } from "./views/log.tsx"
import { Projections, ProjectionsOfAll } from "./views/projections.tsx"
import { StreamView } from "./views/stream.tsx"
import { TenantView } from "./views/tenant.tsx"
import { Tenants } from "./views/tenants.tsx"
import { AccessesView, Chain, DeadLetters, SubjectsView } from "./views/work.tsx"

type OfTenant = (props: { readonly tenant: string }) => JSX.Element

const ofTenant: Readonly<Record<string, readonly [string, OfTenant]>> = {
  log: ["Log", Log],
  stream: ["Stream", StreamView],
  causes: ["Causes", Causes],
  decision: ["Decision", Decision],
  projections: ["Projections", Projections],
  "dead-letters": ["Dead letters", DeadLetters],
  subjects: ["Subjects", SubjectsView],
  chain: ["Chain", Chain],
  tenant: ["Tenant", TenantView],
  accesses: ["Accesses", AccessesView]
}

const ofAll: Readonly<Record<string, readonly [string, () => JSX.Element]>> = {
  tenants: ["Tenants", Tenants],
  projections: ["Projections", ProjectionsOfAll],
  accesses: ["Accesses", () => <AccessesView tenant={undefined} />]
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Chooses a tenant by its id or the beginning of it. */
const Switcher = (): JSX.Element => {
  const { tenant, view } = place.value
  const [error, setError] = useState<string | undefined>(undefined)
  const to = (id: string) => {
    setError(undefined)
    // Parameters name things of one tenant, so they stay behind.
    goTo(id, ofTenant[view] === undefined ? "log" : view)
  }
  const submit = async (event: Submit) => {
    event.preventDefault()
    const text = fieldOf(event, "tenant").trim().toLowerCase()
    if (text === "") return goTo(undefined, "tenants")
    if (uuid.test(text)) return to(text)
    try {
      const { tenants } = await get<typeof TenantPage.Encoded>("/tenants", { prefix: text, limit: 2 })
      const [first] = tenants
      if (tenants.length === 1 && first !== undefined) to(first.tenantId)
      else goTo(undefined, "tenants", { prefix: text })
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : "no tenant was found")
    }
  }
  return (
    <form
      class="switcher"
      role="search"
      aria-label="Tenant"
      onSubmit={(event) => void submit(event)}
      key={tenant}
    >
      <label>
        Tenant
        <input
          name="tenant"
          data-key="/"
          autocomplete="off"
          spellcheck={false}
          list="mine"
          placeholder="all tenants"
          defaultValue={tenant ?? ""}
        />
      </label>
      <datalist id="mine">
        {me.value?.tenants?.map((id) => (
          <option key={id} value={id} />
        ))}
      </datalist>
      <button type="submit">Switch</button>
      <Failure of={error} />
    </form>
  )
}

const Shown = (): JSX.Element => (
  <div class="shown">
    <label>
      Payloads
      <select
        value={payloads.value}
        onChange={({ currentTarget }) => {
          const { value } = currentTarget
          payloads.value = value === "full" || value === "none" ? value : "masked"
          if (value !== "full") personal.value = false
        }}
      >
        <option value="none">none</option>
        {me.value?.payloads === "none" ? null : <option value="masked">masked</option>}
        {me.value?.payloads === "full" ? <option value="full">full</option> : null}
      </select>
    </label>
    {me.value?.personal === true && payloads.value === "full" ? (
      <label>
        <input
          type="checkbox"
          checked={personal.value}
          onChange={({ currentTarget }) => {
            personal.value = currentTarget.checked
          }}
        />
        Personal data
      </label>
    ) : null}
    <label>
      Reason
      <input
        defaultValue={reason.value}
        maxLength={1000}
        onChange={({ currentTarget }) => {
          if (currentTarget.value.trim() !== "") giveReason(currentTarget.value.trim())
        }}
      />
    </label>
    <span>
      {me.value?.actor} may {me.value?.may === "act" ? "act" : "look"}
    </span>
  </div>
)

const Views = (): JSX.Element => {
  const { tenant, view } = place.value
  const views = tenant === undefined ? ofAll : ofTenant
  return (
    <nav aria-label="Views">
      <ul>
        {tenant === undefined ? null : (
          <li>
            <a href={linkTo(undefined, "tenants")}>All tenants</a>
          </li>
        )}
        {Object.entries(views).map(([name, [title]]) => (
          <li key={name}>
            <a href={linkTo(tenant, name)} aria-current={name === view ? "page" : undefined}>
              {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  )
}

const View = (): JSX.Element => {
  const { tenant, view } = place.value
  if (tenant === undefined) {
    const All = ofAll[view]?.[1] ?? Tenants
    return <All />
  }
  const One = ofTenant[view]?.[1] ?? Log
  // Nothing of another tenant stays when the tenant changes.
  return <One key={tenant} tenant={tenant} />
}

/** Asks for the reason of the visit before anything is looked at. */
const Reason = (): JSX.Element => (
  <main>
    <form
      onSubmit={(event) => {
        event.preventDefault()
        const text = fieldOf(event, "reason").trim()
        if (text !== "") giveReason(text)
      }}
    >
      <h1>Inspector</h1>
      <label>
        Reason for looking, which is recorded with each look
        <input name="reason" required maxLength={1000} placeholder="alert 17" />
      </label>
      <button type="submit">Look</button>
    </form>
  </main>
)

const Help = (): JSX.Element => {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const keys = (event: KeyboardEvent) => {
      const { target } = event
      if (
        !(target instanceof Element) ||
        target.matches("input, select, textarea") ||
        event.ctrlKey ||
        event.metaKey ||
        event.altKey
      )
        return
      if (event.key === "/") {
        event.preventDefault()
        document.querySelector<HTMLInputElement>("[data-key='/']")?.select()
      }
      if (event.key === "?") dialog.current?.showModal()
    }
    addEventListener("keydown", keys)
    return () => removeEventListener("keydown", keys)
  }, [])
  return (
    <dialog ref={dialog} aria-labelledby="keys">
      <article>
        <h2 id="keys">Keys</h2>
        <dl>
          <div>
            <dt>
              <kbd>/</kbd>
            </dt>
            <dd>the tenant</dd>
          </div>
          <div>
            <dt>
              <kbd>[</kbd> <kbd>]</kbd>
            </dt>
            <dd>the version before and after</dd>
          </div>
          <div>
            <dt>
              <kbd>↑</kbd> <kbd>↓</kbd>
            </dt>
            <dd>the row before and after</dd>
          </div>
          <div>
            <dt>
              <kbd>?</kbd>
            </dt>
            <dd>these keys</dd>
          </div>
        </dl>
        <form method="dialog">
          <button type="submit">Close</button>
        </form>
      </article>
    </dialog>
  )
}

/** The page. */
export const App = (): JSX.Element => {
  const [error, setError] = useState<string | undefined>(undefined)
  useEffect(() => {
    if (reason.value === "") return
    signIn().then(
      () => setError(undefined),
      (failure: unknown) =>
        setError(failure instanceof Error ? failure.message : "the server does not answer")
    )
  }, [reason.value])
  useEffect(() => {
    const { tenant, view } = place.value
    document.title = `${tenant === undefined ? "all tenants" : tenant.slice(0, 8)} ${view} · Inspector`
  }, [place.value])
  if (reason.value === "") return <Reason />
  if (me.value === undefined)
    return (
      <main>
        <h1>Inspector</h1>
        <Failure of={error} />
      </main>
    )
  return (
    <>
      <header>
        <Switcher />
        <Shown />
        <Views />
      </header>
      <main>
        <View />
      </main>
      <Help />
    </>
  )
}
