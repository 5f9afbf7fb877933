/** The `type` of a problem of this library: stable, and compared by clients. It names no page to be fetched. */
export const problemType = <const Name extends string>(
  name: Name
): `urn:problem-type:effect-eventsourcing:${Name}` => `urn:problem-type:effect-eventsourcing:${name}`
