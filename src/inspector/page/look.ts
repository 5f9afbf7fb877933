/** State of a look in a view. */
import { useCallback, useEffect, useState } from "preact/hooks"
import { get, payloads, personal, type Query } from "./api.ts"

/** A look and its answer. */
export interface Look<A> {
  readonly data: A | undefined
  readonly error: string | undefined
  /** Looks again. */
  readonly again: () => void
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : "the request failed")

/** Runs a look when its request or the payloads change. The former answer stays until the next one is there. */
export const useLook = <A>(path: string | undefined, query: Query = {}): Look<A> => {
  const [state, setState] = useState<Omit<Look<A>, "again">>({ data: undefined, error: undefined })
  const [times, setTimes] = useState(0)
  const again = useCallback(() => setTimes((count) => count + 1), [])
  const request = JSON.stringify([path, query, payloads.value, personal.value])
  useEffect(() => {
    if (path === undefined) return undefined
    const stop = new AbortController()
    get<A>(path, query, stop.signal).then(
      (data) => setState({ data, error: undefined }),
      (error: unknown) => {
        if (!stop.signal.aborted) setState({ data: undefined, error: messageOf(error) })
      }
    )
    return () => stop.abort()
    // The request has all that matters.
  }, [request, times])
  return { ...state, again }
}

/** The answers of a list by pages, each of which has the place of the next. */
export interface Pages<A, Next> {
  readonly rows: ReadonlyArray<A>
  readonly next: Next | null
  readonly error: string | undefined
  readonly loading: boolean
  /** Gets the next page, if there is one and none is on its way. */
  readonly more: () => void
}

/** Gets a list page by page. */
export const usePages = <A, Next>(
  key: string,
  load: (
    after: Next | undefined,
    stop: AbortSignal
  ) => Promise<{ readonly rows: ReadonlyArray<A>; readonly next: Next | null }>
): Pages<A, Next> => {
  const [state, setState] = useState<{ key: string; rows: ReadonlyArray<A>; next: Next | null | undefined }>({
    key: "",
    rows: [],
    next: undefined
  })
  const [error, setError] = useState<string | undefined>(undefined)
  const [wanted, setWanted] = useState(0)
  const request = JSON.stringify([key, payloads.value, personal.value])
  const current = state.key === request ? state : { key: request, rows: [], next: undefined }
  useEffect(() => {
    if (current.next === null) return undefined
    const stop = new AbortController()
    load(current.next, stop.signal).then(
      ({ next, rows }) => {
        setError(undefined)
        setState({ key: request, rows: [...current.rows, ...rows], next })
      },
      (failure: unknown) => {
        if (!stop.signal.aborted) setError(messageOf(failure))
      }
    )
    return () => stop.abort()
  }, [request, wanted])
  const loading = current.next === undefined && error === undefined
  return {
    rows: current.rows,
    next: current.next ?? null,
    error,
    loading,
    more: () => {
      if (current.next !== null && current.next !== undefined) setWanted(current.rows.length)
    }
  }
}
