/** The order of code points, which is that of the database but not that of JavaScript's strings. */
export const byCodePoints = (one: string, other: string): number =>
  Buffer.compare(Buffer.from(one), Buffer.from(other))
