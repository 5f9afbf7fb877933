/** Small parts of the views. */
import type { ComponentChildren, JSX, TargetedEvent } from "preact"
import type { PatchStep } from "../../operations/Looks.ts"
import { linkTo } from "./route.ts"

/** The event of a form. */
export type Submit = TargetedEvent<HTMLFormElement>

const times = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" })

/** A time for people, with the exact one for machines. */
export const Time = ({ at }: { readonly at: string | null }): JSX.Element =>
  at === null ? (
    <span>never</span>
  ) : (
    <time dateTime={at} title={at}>
      {times.format(new Date(at))}
    </time>
  )

/** The text of a field of the form. */
export const fieldOf = ({ currentTarget }: Submit, name: string): string => {
  const value = new FormData(currentTarget).get(name)
  return typeof value === "string" ? value : ""
}

/** A number with separators. */
export const Count = ({ of }: { readonly of: number }): JSX.Element => <span>{of.toLocaleString()}</span>

/** A value as indented JSON. */
export const Json = ({ label, of }: { readonly label: string; readonly of: unknown }): JSX.Element => (
  <figure>
    <figcaption>{label}</figcaption>
    {/* A region that scrolls must be reached by the keyboard. */}
    <pre tabIndex={0} role="region" aria-label={label}>
      {JSON.stringify(of, null, 2)}
    </pre>
  </figure>
)

type Step = typeof PatchStep.Encoded

/** The steps of a difference. */
export const Difference = ({ steps }: { readonly steps: ReadonlyArray<Step> }): JSX.Element =>
  steps.length === 0 ? (
    <p>Nothing changed, or nothing is shown.</p>
  ) : (
    <table>
      <caption>Difference to the version before</caption>
      <thead>
        <tr>
          <th scope="col">Step</th>
          <th scope="col">Place</th>
          <th scope="col">Value</th>
        </tr>
      </thead>
      <tbody>
        {steps.map(({ op, path, value }) => (
          <tr key={`${op} ${path}`}>
            <td>
              <mark data-step={op}>{op}</mark>
            </td>
            <td>
              <code>{path}</code>
            </td>
            <td>
              <code>{JSON.stringify(value)}</code>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )

/** The failure of a look, or nothing. */
export const Failure = ({ of }: { readonly of: string | undefined }): JSX.Element | null =>
  of === undefined ? null : <p role="alert">{of}</p>

/** A note that is read out when it changes. */
export const Note = ({ children }: { readonly children: ComponentChildren }): JSX.Element => (
  <p role="status">{children}</p>
)

/** The state of something, as a word with a colour. */
export const State = ({ of }: { readonly of: string }): JSX.Element => <span data-state={of}>{of}</span>

/** A table of names and values. */
export const Facts = ({
  of
}: {
  readonly of: ReadonlyArray<readonly [string, ComponentChildren]>
}): JSX.Element => (
  <dl>
    {of.map(([name, value]) => (
      <div key={name}>
        <dt>{name}</dt>
        <dd>{value}</dd>
      </div>
    ))}
  </dl>
)

/** A link to a stream. */
export const StreamLink = ({
  aggregateId,
  aggregateType,
  tenant,
  version
}: {
  readonly tenant: string
  readonly aggregateType: string
  readonly aggregateId: string
  readonly version?: number
}): JSX.Element => (
  <a href={linkTo(tenant, "stream", { type: aggregateType, id: aggregateId, version })}>
    {aggregateType} {aggregateId}
  </a>
)
