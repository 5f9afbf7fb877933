/** What shows that a function is pure: inputs it cannot change, and another world around it. */

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null || Array.isArray(value)
}

/**
 * Freezes plain objects and arrays, all the way down; gives the value. Others are left as they are: some of Effect's data
 * types keep what they have computed in themselves.
 */
export const deepFreeze = <A>(value: A): A => {
  if (typeof value === "object" && value !== null && isPlain(value) && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const member of Object.values(value)) deepFreeze(member)
  }
  return value
}

/** Whether {@link deepFreeze} protects all of a value. */
export const canBeFrozen = (value: unknown): boolean =>
  typeof value !== "object" || value === null || (isPlain(value) && Object.values(value).every(canBeFrozen))

/** Years away from now, in milliseconds. */
const distance = 10 * 365 * 86_400_000

/** Runs a function at another time, with other random numbers: one that depends on neither gives the same result. */
export const elsewhere = <A>(run: () => A): A => {
  const { Date: here } = globalThis
  const { random } = Math
  globalThis.Date = new Proxy(here, {
    construct: (target, args: ReadonlyArray<unknown>, newTarget) =>
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what a constructor gives is an object
      Reflect.construct(target, args.length === 0 ? [target.now() + distance] : args, newTarget) as Date,
    apply: (target) => new target(target.now() + distance).toString(),
    get: (target, key): unknown => (key === "now" ? () => target.now() + distance : Reflect.get(target, key))
  })
  Math.random = () => (random() + 0.5) % 1
  try {
    return run()
  } finally {
    globalThis.Date = here
    Math.random = random
  }
}
