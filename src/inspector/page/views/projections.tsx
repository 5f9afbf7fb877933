/** The work of projections with a tenant, and with all of them. */
import type { JSX } from "preact"
import { useEffect, useState } from "preact/hooks"
import type { ProjectionTotal, ProjectionView } from "../../../operations/Looks.ts"
import { Act } from "../actions.tsx"
import { Chart } from "../chart.tsx"
import { useLook } from "../look.ts"
import { Facts, Failure, Json, Note, State, Time } from "../parts.tsx"
import { linkTo } from "../route.ts"

type View = typeof ProjectionView.Encoded
type Total = typeof ProjectionTotal.Encoded

/** Seconds between two looks while watching. */
const period = 2

interface Sample {
  readonly at: number
  readonly head: number
  readonly pending: ReadonlyMap<string, number>
}

const nameOf = ({ projection, version }: { readonly projection: string; readonly version: number }): string =>
  `${projection} ${version}`

/** Samples of the work while a person watches. */
const useSamples = (data: ReadonlyArray<View> | undefined): ReadonlyArray<Sample> => {
  const [samples, setSamples] = useState<ReadonlyArray<Sample>>([])
  useEffect(() => {
    if (data === undefined || data.length === 0) return
    const sample = {
      at: Date.now() / 1000,
      head: Math.max(...data.map(({ head }) => head)),
      pending: new Map(data.map((one) => [nameOf(one), one.pending?.events ?? one.distance]))
    }
    setSamples((known) => [...known, sample].slice(-900))
  }, [data])
  return samples
}

const Charts = ({ samples }: { readonly samples: ReadonlyArray<Sample> }): JSX.Element | null => {
  const last = samples.at(-1)
  if (last === undefined || samples.length < 2) return null
  const times = samples.map(({ at }) => at)
  const rates = samples.map(({ at, head }, nth) => {
    const former = samples[nth - 1]
    return former === undefined ? null : (head - former.head) / Math.max(0.001, at - former.at)
  })
  return (
    <div class="beside">
      <Chart
        title="Pending events"
        times={times}
        lines={[...last.pending.keys()].map((name) => ({
          name,
          values: samples.map(({ pending }) => pending.get(name) ?? null)
        }))}
      />
      <Chart title="Events appended a second" times={times} lines={[{ name: "rate", values: rates }]} />
    </div>
  )
}

const Cause = ({ of, tenant }: { readonly of: View; readonly tenant: string }): JSX.Element | null =>
  of.failedPosition === null ? null : (
    <details open={of.state === "parked"}>
      <summary>
        {of.projection}: {of.error ?? "a failure"} at position {of.failedPosition.toLocaleString()}
      </summary>
      <Facts
        of={[
          [
            "Event",
            <a key="event" href={linkTo(tenant, "log", { show: of.failedPosition, from: of.failedPosition })}>
              {of.failedPosition}
            </a>
          ],
          ["Kind", of.failureKind ?? "unknown"],
          ["Attempts", of.attempts],
          ["Next attempt", of.retryInMillis === null ? "none: it is parked" : `in ${of.retryInMillis} ms`],
          ["Message", of.cause?.message ?? "not kept"],
          ["First", <Time key="first" at={of.cause?.firstAt ?? null} />],
          ["Last", <Time key="last" at={of.cause?.lastAt ?? null} />]
        ]}
      />
      {of.cause === null ? null : <Json label="Stack" of={of.cause.stack.split("\n")} />}
    </details>
  )

const Actions = ({
  of: { projection, rebuild, state, version },
  onDone,
  tenant
}: {
  readonly of: View
  readonly tenant: string
  readonly onDone: () => void
}): JSX.Element => {
  const request = { tenant, parameters: { projection, version }, onDone }
  return (
    <>
      {state === "parked" || rebuild?.parked === true ? (
        <Act {...request} name="resumeProjections" title="Resume" />
      ) : null}{" "}
      <Act {...request} name="rebuild" title="Rebuild" />{" "}
      {rebuild === null ? null : <Act {...request} name="cancelRebuild" title="Cancel rebuild" />}
    </>
  )
}

/** The projections of a tenant. */
export const Projections = ({ tenant }: { readonly tenant: string }): JSX.Element => {
  const { again, data, error } = useLook<ReadonlyArray<View>>(`/tenants/${tenant}/projections`)
  const [watching, setWatching] = useState(false)
  const samples = useSamples(data)
  useEffect(() => {
    if (!watching) return undefined
    const timer = setInterval(again, period * 1000)
    return () => clearInterval(timer)
  }, [watching])
  return (
    <section aria-labelledby="title">
      <h1 id="title">Projections</h1>
      <Failure of={error} />
      <div class="filters">
        <button type="button" onClick={again}>
          Look again
        </button>
        <label>
          <input
            type="checkbox"
            role="switch"
            checked={watching}
            onChange={({ currentTarget }) => setWatching(currentTarget.checked)}
          />
          Watch (a recorded look every {period} seconds)
        </label>
      </div>
      <Charts samples={samples} />
      {data === undefined ? null : data.length === 0 ? (
        <Note>No projection has worked for this tenant.</Note>
      ) : (
        <div class="scrolls" tabIndex={0} role="region" aria-label="Table of projections">
          <table>
            <caption>Work of each projection</caption>
            <thead>
              <tr>
                <th scope="col">Projection</th>
                <th scope="col">State</th>
                <th scope="col">Position</th>
                <th scope="col">Head</th>
                <th scope="col">Pending</th>
                <th scope="col">Oldest pending</th>
                <th scope="col">Rebuild</th>
                <th scope="col">Read models</th>
                <th scope="col">Actions</th>
              </tr>
            </thead>
            <tbody>
              {data.map((one) => (
                <tr key={nameOf(one)}>
                  <th scope="row">
                    {one.projection} <small>version {one.version}</small>
                    {one.known ? null : <small> (not of this program)</small>}
                  </th>
                  <td>
                    <State of={one.state} />
                  </td>
                  <td>{one.position.toLocaleString()}</td>
                  <td>{one.head.toLocaleString()}</td>
                  <td>
                    {one.pending === null
                      ? `unknown, ${one.distance.toLocaleString()} positions`
                      : `${one.pending.events.toLocaleString()}${one.pending.exact ? "" : " or more"}`}
                  </td>
                  <td>
                    <Time at={one.oldestPendingAt} />
                  </td>
                  <td>
                    {one.rebuild === null
                      ? "none"
                      : `at ${one.rebuild.position.toLocaleString()}${one.rebuild.parked ? ", parked" : ""}`}
                  </td>
                  <td>{one.tables.join(", ") || "none"}</td>
                  <td>
                    <Actions of={one} tenant={tenant} onDone={again} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {data?.map((one) => (
        <Cause key={nameOf(one)} of={one} tenant={tenant} />
      ))}
    </section>
  )
}

/** The projections with all tenants. */
export const ProjectionsOfAll = (): JSX.Element => {
  const { again, data, error } = useLook<ReadonlyArray<Total>>("/projections")
  return (
    <section aria-labelledby="title">
      <h1 id="title">Projections of all tenants</h1>
      <Failure of={error} />
      <button type="button" onClick={again}>
        Look again
      </button>
      {data === undefined ? null : (
        <table>
          <caption>Work as of the last sweep of the runners</caption>
          <thead>
            <tr>
              <th scope="col">Projection</th>
              <th scope="col">Pending positions</th>
              <th scope="col">Oldest</th>
              <th scope="col">Parked tenants</th>
            </tr>
          </thead>
          <tbody>
            {data.map((one) => (
              <tr key={nameOf(one)}>
                <th scope="row">
                  {one.projection} <small>version {one.version}</small>
                </th>
                <td>{one.pending.toLocaleString()}</td>
                <td>{Math.round(one.oldestAgeMillis / 1000).toLocaleString()} s</td>
                <td>
                  {one.parked === 0 ? (
                    "0"
                  ) : (
                    <a href={linkTo(undefined, "tenants", { order: "distance" })}>
                      {one.parked.toLocaleString()}
                    </a>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  )
}
