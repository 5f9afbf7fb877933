/** The place in the page: the tenant, the view and its parameters, in the fragment of the URL, which no server sees. */
import { signal } from "@preact/signals"

/** A place in the page. */
export interface Place {
  /** The tenant; undefined in a view of all tenants. */
  readonly tenant: string | undefined
  readonly view: string
  readonly query: Readonly<Record<string, string>>
}

const parse = (hash: string): Place => {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?")
  const parts = path.split("/").map(decodeURIComponent)
  const params = Object.fromEntries(new URLSearchParams(query))
  return parts[0] === "t" && parts[1] !== undefined
    ? { tenant: parts[1], view: parts[2] ?? "log", query: params }
    : {
        tenant: undefined,
        view: parts[0] === undefined || parts[0] === "" ? "tenants" : parts[0],
        query: params
      }
}

/** The current place. */
export const place = signal<Place>(parse(location.hash))

addEventListener("hashchange", () => {
  place.value = parse(location.hash)
})

/** The link to a place. Parameters without a value are left out. */
export const linkTo = (
  tenant: string | undefined,
  view: string,
  query: Readonly<Record<string, string | number | undefined>> = {}
): string => {
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== "") params.set(name, String(value))
  const path = tenant === undefined ? view : `t/${encodeURIComponent(tenant)}/${view}`
  return `#/${path}${params.size === 0 ? "" : `?${params.toString()}`}`
}

/** Goes to a place. */
export const goTo = (...to: Parameters<typeof linkTo>): void => {
  location.hash = linkTo(...to)
}
