/** Columns of events, and one event in full. */
import type { JSX } from "preact"
import type { EventView } from "../../operations/Looks.ts"
import type { Column } from "./list.tsx"
import { Facts, Json, StreamLink, Time } from "./parts.tsx"
import { linkTo } from "./route.ts"

/** An event on the wire. */
export type Event = typeof EventView.Encoded

/** The columns of a list of events. */
export const eventColumns = (tenant: string): ReadonlyArray<Column<Event>> => [
  {
    title: "Position",
    cell: ({ position }) => (
      <a href={linkTo(tenant, "log", { from: position, show: position })}>{position.toLocaleString()}</a>
    )
  },
  { title: "Type", width: 2, cell: ({ eventType }) => eventType },
  {
    title: "Stream",
    width: 3,
    cell: ({ aggregateId, aggregateType, version }) => (
      <StreamLink tenant={tenant} aggregateType={aggregateType} aggregateId={aggregateId} version={version} />
    )
  },
  { title: "Version", cell: ({ version }) => String(version) },
  { title: "Recorded", width: 2, cell: ({ recordedAt }) => <Time at={recordedAt} /> },
  { title: "Actor", cell: ({ actor }) => actor ?? "" },
  {
    title: "Correlation",
    width: 2,
    cell: ({ correlationId }) => (
      <a href={linkTo(tenant, "causes", { correlation: correlationId })}>{correlationId}</a>
    )
  },
  { title: "Tags", width: 2, cell: ({ tags }) => tags.join(" ") }
]

/** An event: its envelope, and its payload as stored beside as read now. */
export const Detail = ({
  event,
  tenant
}: {
  readonly event: Event
  readonly tenant: string
}): JSX.Element => (
  <article aria-label={`Event ${event.position}`}>
    <h2>
      {event.eventType} at {event.position.toLocaleString()}
    </h2>
    <Facts
      of={[
        ["Event id", <code key="id">{event.eventId}</code>],
        [
          "Stream",
          <StreamLink
            key="stream"
            tenant={tenant}
            aggregateType={event.aggregateType}
            aggregateId={event.aggregateId}
            version={event.version}
          />
        ],
        ["Version", event.version],
        ["Schema version", event.schemaVersion],
        ["Occurred", <Time key="occurred" at={event.occurredAt} />],
        ["Recorded", <Time key="recorded" at={event.recordedAt} />],
        ["Actor", event.actor ?? "none"],
        [
          "Correlation",
          <a key="correlation" href={linkTo(tenant, "causes", { correlation: event.correlationId })}>
            {event.correlationId}
          </a>
        ],
        ["Caused by", event.causationId ?? "nothing"],
        ["Tags", event.tags.join(" ") || "none"],
        ["Characters", event.characters],
        ["Personal fields", event.sealed ? "left out" : "as granted"]
      ]}
    />
    <div class="beside">
      <Json label="Stored" of={event.stored} />
      {event.present === null ? (
        <p>
          {event.unreadable === null
            ? "The program does not know this aggregate."
            : `It cannot be read: ${event.unreadable}.`}
        </p>
      ) : (
        <Json label="As read now" of={event.present} />
      )}
      <Json label="Metadata" of={event.metadata} />
    </div>
  </article>
)
