/** Reservations of streams in memory: those that wait get them in their order. */
import { Effect } from "effect"
import type { EventStorage, ReserveRequest } from "../driver/EventStorage.ts"
import type { TenantId } from "../domain/Tenant.ts"
import { TripleMap } from "../driver/tripleMap.ts"

/** The longest wait for a reservation, in milliseconds. */
const longestWait = 1000

/** A caller that holds a reservation, or waits for it. */
interface Place {
  /** Answers the caller, once. */
  answer: (isReserved: boolean) => void
}

/** `EventStorage.reserveStream` in memory. */
export const makeReservations = (): NonNullable<EventStorage["Service"]["reserveStream"]> => {
  /** The first of each list holds the reservation. */
  const streams = new TripleMap<TenantId, string, string, Array<Place>>()

  const leave = ({ aggregateId, aggregateType, tenantId }: ReserveRequest, place: Place): void => {
    const places = streams.get(tenantId, aggregateType, aggregateId) ?? []
    const at = places.indexOf(place)
    if (at < 0) return
    places.splice(at, 1)
    if (places.length === 0) streams.delete(tenantId, aggregateType, aggregateId)
    else if (at === 0) places[0]?.answer(true)
  }

  const enter = ({ aggregateId, aggregateType, tenantId }: ReserveRequest): Place => {
    const place: Place = { answer: () => {} }
    const places = streams.get(tenantId, aggregateType, aggregateId)
    if (places === undefined) streams.set(tenantId, aggregateType, aggregateId, [place])
    else places.push(place)
    return place
  }

  const isFirst = ({ aggregateId, aggregateType, tenantId }: ReserveRequest, place: Place): boolean =>
    streams.get(tenantId, aggregateType, aggregateId)?.[0] === place

  return (request) =>
    Effect.flatMap(
      Effect.acquireRelease(
        Effect.sync(() => enter(request)),
        (place) => Effect.sync(() => leave(request, place))
      ),
      (place) =>
        Effect.callback<boolean>((resume) => {
          if (isFirst(request, place)) return resume(Effect.succeed(true))
          const timer = setTimeout(() => {
            leave(request, place)
            resume(Effect.succeed(false))
          }, longestWait)
          place.answer = (isReserved) => {
            clearTimeout(timer)
            resume(Effect.succeed(isReserved))
          }
          return Effect.sync(() => clearTimeout(timer))
        })
    )
}
