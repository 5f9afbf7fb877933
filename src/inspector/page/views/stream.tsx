/** One stream: its events, and the state at each version with the difference to the one before. */
import type { JSX } from "preact"
import { useLayoutEffect } from "preact/hooks"
import type { StateView, StreamPage } from "../../../operations/Looks.ts"
import { Detail } from "../events.tsx"
import { useLook } from "../look.ts"
import { Difference, Facts, Failure, Json, Note, Time, fieldOf, type Submit } from "../parts.tsx"
import { goTo, place } from "../route.ts"

type State = typeof StateView.Encoded
type Page = typeof StreamPage.Encoded

const Stepper = ({
  latest,
  onStep,
  version
}: {
  readonly version: number
  readonly latest: number
  readonly onStep: (version: number) => void
}): JSX.Element => {
  // Before the version is seen: the next key goes on from it.
  useLayoutEffect(() => {
    const step = (event: KeyboardEvent) => {
      if (event.target instanceof Element && event.target.matches("input, select, textarea")) return
      if (event.key === "[" && version > 0) onStep(version - 1)
      if (event.key === "]" && version < latest) onStep(version + 1)
    }
    addEventListener("keydown", step)
    return () => removeEventListener("keydown", step)
  })
  return (
    <div role="group" aria-label="Version" class="stepper">
      <button type="button" disabled={version <= 0} onClick={() => onStep(version - 1)} title="[">
        Back
      </button>
      <label>
        Version {version} of {latest}
        <input
          type="range"
          min={0}
          max={latest}
          value={version}
          onChange={({ currentTarget }) => onStep(Number(currentTarget.value))}
        />
      </label>
      <button type="button" disabled={version >= latest} onClick={() => onStep(version + 1)} title="]">
        Forward
      </button>
    </div>
  )
}

const Snapshot = ({ of }: { readonly of: State["snapshot"] }): JSX.Element =>
  of === null ? (
    <p>No snapshot.</p>
  ) : (
    <Facts
      of={[
        ["Snapshot of version", of.version],
        ["Position", of.position],
        ["State version", `${of.stateVersion}${of.current ? "" : " (of another fold: not used)"}`],
        ["Taken", <Time key="taken" at={of.takenAt} />],
        ["Characters", of.characters]
      ]}
    />
  )

const States = ({
  id,
  tenant,
  type
}: {
  readonly tenant: string
  readonly type: string
  readonly id: string
}) => {
  const asked = place.value.query["version"]
  const { data: state, error } = useLook<State>(`/tenants/${tenant}/state`, {
    aggregateType: type,
    aggregateId: id,
    version: asked
  })
  const version = state?.version ?? 0
  const { data: page, error: noEvent } = useLook<Page>(
    version === 0 ? undefined : `/tenants/${tenant}/stream`,
    { aggregateType: type, aggregateId: id, fromVersion: version, limit: 1 }
  )
  if (state === undefined) return <Failure of={error} />
  const event = page?.events.find((one) => one.version === version)
  return (
    <>
      <Failure of={noEvent} />
      <Stepper
        version={state.version}
        latest={state.latest}
        onStep={(next) => goTo(tenant, "stream", { type, id, version: next })}
      />
      {state.latest === 0 ? <Note>There are no events in this stream.</Note> : null}
      {state.unreadable === null ? null : (
        <p role="alert">
          The fold ends before position {state.unreadable.position}: {state.unreadable.error}.
        </p>
      )}
      {state.known ? (
        <div class="beside">
          <Json label={`State at version ${state.version}`} of={state.state} />
          <Difference steps={state.difference} />
        </div>
      ) : (
        <Note>The program does not know this aggregate, so there is no state.</Note>
      )}
      <Snapshot of={state.snapshot} />
      {event === undefined || state.version === 0 ? null : <Detail event={event} tenant={tenant} />}
    </>
  )
}

/** A stream. */
export const StreamView = ({ tenant }: { readonly tenant: string }): JSX.Element => {
  const { id = "", type = "" } = place.value.query
  const submit = (event: Submit) => {
    event.preventDefault()
    goTo(tenant, "stream", { type: fieldOf(event, "type"), id: fieldOf(event, "id") })
  }
  return (
    <section aria-labelledby="title">
      <h1 id="title">Stream</h1>
      <form class="filters" onSubmit={submit} key={`${type} ${id}`}>
        <label>
          Aggregate
          <input name="type" required defaultValue={type} />
        </label>
        <label>
          Id
          <input name="id" required defaultValue={id} />
        </label>
        <button type="submit">Show</button>
      </form>
      {type === "" ? (
        <Note>Choose a stream, here or in the log.</Note>
      ) : (
        <States tenant={tenant} type={type} id={id} />
      )}
    </section>
  )
}
