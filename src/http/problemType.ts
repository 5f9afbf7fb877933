/** The `type` of a problem of this library. It is stable, so that clients can compare it. It is not the address of a page. */
export const problemType = <const Name extends string>(
  name: Name
): `urn:problem-type:effect-eventsourcing:${Name}` => `urn:problem-type:effect-eventsourcing:${name}`
