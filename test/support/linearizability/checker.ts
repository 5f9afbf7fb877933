/**
 * A checker of linearizability: a history is correct if its operations can be put in one order, each at a moment between its
 * call and its return, in which a sequential model gives the answers that were observed.
 *
 * **Details**
 *
 * The search is that of Wing and Gong (*Testing and Verifying Concurrent Objects*, 1993): the next operation of the order is any
 * that was called before the first return that is still to come; if none fits, the search goes back. It remembers each set of
 * ordered operations together with the state they led to and enters none twice, as Lowe does (*Testing for Linearizability*, 2017)
 * and Porcupine after him.
 *
 * An operation without a return took effect at any moment after its call, or never. Histories are checked object by object, which
 * is enough: the property is local (Herlihy and Wing, 1990).
 *
 * It stays among the helpers of the tests: it knows nothing of events, and a program that wants to check itself needs a model, a
 * recorder and faults of its own more than this search.
 */

/** An operation on one object. */
export interface Operation<out Input, out Output> {
  /** Moment of the call. */
  readonly called: number
  /** Moment of the return, at the same clock; undefined if the outcome is unknown. */
  readonly returned: number | undefined
  readonly input: Input
  /** The answer; undefined if the outcome is unknown. */
  readonly output: Output | undefined
}

/** The sequential behaviour of the object. */
export interface Model<State, Input, Output> {
  readonly initial: State
  /** The state after an operation; undefined if the operation cannot have this output. Any output is possible if it is undefined. */
  readonly step: (state: State, input: Input, output: Output | undefined) => State | undefined
  /** Equal for equal states, and only for those. */
  readonly keyOf: (state: State) => string
  /** True if the operation never changes a state. */
  readonly isRead: (input: Input) => boolean
}

/** The result of a check. */
export interface Verdict<Op> {
  readonly linearizable: boolean
  /** The order that was found, or the longest beginning of one. */
  readonly order: ReadonlyArray<Op>
  /** Behind the longest beginning: operations one of which had to come next, and none fits. */
  readonly stuck: ReadonlyArray<Op>
}

/** An operation that was added to the order, and the state of the search before it. */
interface Step<State> {
  readonly at: number
  readonly state: State
}

/** Looks for an order. */
export const check = <State, Input, Output, Op extends Operation<Input, Output>>(
  model: Model<State, Input, Output>,
  history: ReadonlyArray<Op>
): Verdict<Op> => {
  const operations = history.toSorted((left, right) => left.called - right.called)
  const ordered = operations.map(() => false)
  const visited = new Set<string>()
  const steps: Array<Step<State>> = []
  let state = model.initial
  /** Operations with a known outcome that have no place in the order yet. */
  let open = operations.filter(({ returned }) => returned !== undefined).length
  /** The first operation to try. */
  let from = 0
  let longest: ReadonlyArray<number> = []

  /** The first return of an operation without a place: every operation that is called later comes behind it. */
  const firstReturn = (): number => {
    let first = Infinity
    for (const [at, { called, returned }] of operations.entries()) {
      if (called > first) break
      if (ordered[at] !== true && returned !== undefined && returned < first) first = returned
    }
    return first
  }

  /** Puts the next operation that fits at the end of the order; false if there is none. */
  const advance = (): boolean => {
    const limit = firstReturn()
    for (let at = from; at < operations.length; at++) {
      const operation = operations[at]
      if (operation === undefined || operation.called > limit) return false
      if (ordered[at] === true) continue
      const next = model.step(state, operation.input, operation.output)
      if (next === undefined) continue
      ordered[at] = true
      const configuration = `${ordered.map((is) => (is ? "1" : "0")).join("")} ${model.keyOf(next)}`
      if (visited.has(configuration)) {
        ordered[at] = false
        continue
      }
      visited.add(configuration)
      steps.push({ at, state })
      state = next
      if (operation.returned !== undefined) open--
      from = 0
      return true
    }
    return false
  }

  /** Takes the last operation out of the order, to try those behind it; false if there is none. */
  const goBack = (): boolean => {
    const last = steps.pop()
    if (last === undefined) return false
    ordered[last.at] = false
    if (operations[last.at]?.returned !== undefined) open++
    state = last.state
    from = last.at + 1
    return true
  }

  const at = (indexes: Iterable<number>): ReadonlyArray<Op> =>
    Array.from(indexes).flatMap((index) => operations[index] ?? [])

  while (open > 0) {
    if (steps.length > longest.length) longest = steps.map((step) => step.at)
    if (advance() || goBack()) continue
    const placed = new Set(longest)
    const rest = operations.filter((_, index) => !placed.has(index))
    const limit = Math.min(...rest.map(({ returned }) => returned ?? Infinity))
    return {
      linearizable: false,
      order: at(longest),
      stuck: rest.filter(({ called, returned }) => called <= limit && returned !== undefined)
    }
  }
  return { linearizable: true, order: at(steps.map((step) => step.at)), stuck: [] }
}

/**
 * A part of a history that is not linearizable, from which nothing can be left out: its shortest beginning, without reads and
 * answers that the contradiction does not need. Every step drops a demand on the order, so the whole history is as wrong.
 */
export const minimise = <State, Input, Output, Op extends Operation<Input, Output>>(
  model: Model<State, Input, Output>,
  history: ReadonlyArray<Op>,
  /** The operation without its answer. */
  forget: (operation: Op) => Op
): ReadonlyArray<Op> => {
  const isWrong = (operations: ReadonlyArray<Op>): boolean => !check(model, operations).linearizable
  if (!isWrong(history)) return history

  /** The history as it was known at a moment. */
  const until = (moment: number): ReadonlyArray<Op> =>
    history
      .filter(({ called }) => called <= moment)
      .map((operation) =>
        operation.returned !== undefined && operation.returned <= moment ? operation : forget(operation)
      )
  const moments = history.flatMap(({ returned }) => returned ?? []).toSorted((left, right) => left - right)
  let least = history
  for (const moment of moments) {
    least = until(moment)
    if (isWrong(least)) break
  }

  for (const operation of least.toReversed()) {
    const without = least.filter((other) => other !== operation)
    const shorter = model.isRead(operation.input)
      ? without
      : least.map((other) => (other === operation ? forget(other) : other))
    if (isWrong(shorter)) least = shorter
  }
  return least
}
