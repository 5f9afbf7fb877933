/** Requests to the operations, as the operator whom the server knows, with the reason and the payloads that were chosen. */
import { signal } from "@preact/signals"
import type { Payloads } from "../../operations/PayloadGrant.ts"

/** The operator and the operator's rights. */
export interface Me {
  readonly actor: string
  readonly tenants: ReadonlyArray<string> | null
  readonly payloads: Payloads
  readonly personal: boolean
  readonly may: "look" | "act"
}

const kept = (name: string): string => sessionStorage.getItem(name) ?? ""

/** The reason for the record; empty until it was given. */
export const reason = signal(kept("reason"))
/** The payloads to ask for. */
export const payloads = signal<Payloads>("masked")
/** True to ask for personal data. */
export const personal = signal(false)
/** The operator; undefined until the server has answered. */
export const me = signal<Me | undefined>(undefined)

/** Keeps the reason for this tab. */
export const giveReason = (text: string): void => {
  sessionStorage.setItem("reason", text)
  reason.value = text
}

/** An answer that is a problem. */
class Problem extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const textOf = (body: unknown, name: string): string | undefined => {
  if (typeof body !== "object" || body === null) return undefined
  const value = Object.entries(body).find(([key]) => key === name)?.[1] as unknown
  return typeof value === "string" ? value : undefined
}

const problemOf = async (response: Response): Promise<Problem> => {
  const body: unknown = await response.json().catch(() => undefined)
  const text = textOf(body, "detail") ?? textOf(body, "title") ?? `status ${response.status}`
  return new Problem(response.status, text)
}

/** Parameters of a request. Those without a value are left out, and a list is repeated. */
export type Query = Readonly<Record<string, string | number | ReadonlyArray<string> | undefined>>

const urlOf = (path: string, query: Query): string => {
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== "")
      for (const one of Array.isArray(value) ? (value as ReadonlyArray<string>) : [String(value)])
        params.append(name, one)
  return `api${path}${params.size === 0 ? "" : `?${params.toString()}`}`
}

const send = async (path: string, query: Query, init: RequestInit): Promise<Response> => {
  const response = await fetch(urlOf(path, query), {
    ...init,
    credentials: "same-origin",
    headers: {
      ...init.headers,
      "x-operator-reason": encodeURIComponent(reason.value),
      "x-operator-payloads": payloads.value,
      "x-operator-personal": personal.value ? "true" : "false"
    }
  })
  if (!response.ok) throw await problemOf(response)
  return response
}

/** The answer in a text. The server has encoded it with the schema of that type. */
// oxlint-disable-next-line typescript/no-unsafe-return -- as above
const answerOf = <A>(text: string): A => JSON.parse(text)

/** A look. The type is that of the answer's schema on the wire. */
export const get = async <A>(path: string, query: Query = {}, signalOf?: AbortSignal): Promise<A> => {
  const response = await send(path, query, signalOf === undefined ? {} : { signal: signalOf })
  return answerOf<A>(await response.text())
}

/** A look with a body, or an action. */
export const post = async <A>(path: string, body: unknown): Promise<A> => {
  const response = await send(
    path,
    {},
    {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body)
    }
  )
  return answerOf<A>(await response.text())
}

/** The failure at the end of server-sent events. */
const endOf = (data: string): Problem => {
  const problem = /"problem":"((?:[^"\\]|\\.)*)"/.exec(data)?.[1]
  return new Problem(
    503,
    problem === undefined ? "the stream has ended: look again" : answerOf<string>(`"${problem}"`)
  )
}

/** Reads server-sent events to their end. */
const readEvents = async <A>(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  onEvents: (events: ReadonlyArray<A>) => void
) => {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ""
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const blocks = (rest + value).split("\n\n")
    rest = blocks.pop() ?? ""
    const found: Array<A> = []
    for (const block of blocks) {
      const lines = block.split("\n")
      const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart())
      if (lines.some((line) => /^event: ?effect\//.test(line))) throw endOf(data.join("\n"))
      if (data.length > 0) found.push(answerOf<A>(data.join("\n")))
    }
    if (found.length > 0) onEvents(found)
  }
}

/** An action that answers with its progress. */
export const postAndFollow = async <A>(
  path: string,
  body: unknown,
  onEvents: (events: ReadonlyArray<A>) => void
): Promise<void> => {
  const response = await send(
    path,
    {},
    {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body)
    }
  )
  if (response.body !== null) await readEvents(response.body, onEvents)
}

/** Follows a live log until the signal aborts. */
export const follow = async <A>(
  path: string,
  query: Query,
  stop: AbortSignal,
  onEvents: (events: ReadonlyArray<A>) => void
): Promise<void> => {
  const { body } = await send(path, query, { signal: stop })
  if (body !== null) await readEvents(body, onEvents)
}

/** Trades a one-time token in the fragment for a cookie, and takes it out of the address. */
const useToken = async (): Promise<void> => {
  const token = /^#token=([\w-]+)/.exec(location.hash)?.[1]
  if (token === undefined) return
  history.replaceState(null, "", location.pathname)
  await fetch("session", {
    method: "POST",
    credentials: "same-origin",
    headers: { "content-type": "application/json", "x-operator-reason": "session" },
    body: JSON.stringify({ token })
  })
}

const traded = useToken()

/** Asks the server for the operator. */
export const signIn = async (): Promise<void> => {
  await traded
  me.value = await get<Me>("/me")
}
