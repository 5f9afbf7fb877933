/** Shows that a function is pure: by frozen inputs, another time and other random numbers. */

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null || Array.isArray(value)
}

/**
 * Freezes plain objects and arrays at all levels, and returns the value. Other objects stay as they are, because some of
 * Effect's data types cache what they compute.
 */
export const deepFreeze = <A>(value: A): A => {
  if (typeof value === "object" && value !== null && isPlain(value) && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const member of Object.values(value)) deepFreeze(member)
  }
  return value
}

/** True if {@link deepFreeze} protects all of a value. */
export const canBeFrozen = (value: unknown): boolean =>
  typeof value !== "object" || value === null || (isPlain(value) && Object.values(value).every(canBeFrozen))

/** True for the error of a change to a frozen object. */
export const isFrozenError = (error: unknown): error is TypeError =>
  error instanceof TypeError && /read.?only|not extensible|delete property|redefine/i.test(error.message)

/** Ten years in milliseconds. */
const distance = 10 * 365 * 86_400_000

/** Runs a function at another time, with other random numbers. A pure function returns the same result. */
export const elsewhere = <A>(run: () => A): A => {
  const { Date: here } = globalThis
  const { random } = Math
  globalThis.Date = new Proxy(here, {
    construct: (target, args: ReadonlyArray<unknown>, newTarget) =>
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a constructor returns an object
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
