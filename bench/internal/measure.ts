/** Rates, measured in turns (A, B, A, B …), so that other load of the machine affects all alike. */

/** A program under measurement, ready to run. */
export interface Contender {
  readonly name: string
  /** Works for about the given seconds. Returns its rate per second. */
  readonly run: (seconds: number) => Promise<number>
  /** Checks the results and closes connections. */
  readonly close?: () => Promise<void>
}

/** The rounds of one contender. */
export interface Measured {
  readonly name: string
  readonly rates: ReadonlyArray<number>
}

/** The length and number of rounds. */
export interface Effort {
  readonly rounds: number
  readonly seconds: number
}

export const median = (numbers: ReadonlyArray<number>): number => quantile(numbers, 0.5)

/** A quantile, interpolated. */
export const quantile = (numbers: ReadonlyArray<number>, q: number): number => {
  const sorted = [...numbers].toSorted((left, right) => left - right)
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)] ?? Number.NaN
  const high = sorted[Math.ceil(at)] ?? Number.NaN
  return low + (high - low) * (at - Math.floor(at))
}

/** The median of paired ratios and its 90 % interval, by resampling (percentile bootstrap, Efron 1979). */
export const interval = (
  ratios: ReadonlyArray<number>
): readonly [low: number, middle: number, high: number] => {
  // A seeded generator, so that the same ratios always give the same interval.
  let seed = 1
  const next = (): number => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed / 2_147_483_647
  }
  const medians = Array.from({ length: 5000 }, () =>
    median(ratios.map(() => ratios[Math.floor(next() * ratios.length)] ?? Number.NaN))
  )
  return [quantile(medians, 0.05), median(ratios), quantile(medians, 0.95)]
}

/** Runs contenders in turns, after a short round that does not count. */
export const interleave = async (
  contenders: ReadonlyArray<Contender>,
  { rounds, seconds }: Effort
): Promise<ReadonlyArray<Measured>> => {
  const rates = contenders.map((): Array<number> => [])
  for (const { run } of contenders) await run(Math.min(1, seconds / 2))
  for (let round = 0; round < rounds; round++) {
    for (const [index, { run }] of contenders.entries()) rates[index]?.push(await run(seconds))
  }
  for (const { close } of contenders) await close?.()
  return contenders.map(({ name }, index) => ({ name, rates: rates[index] ?? [] }))
}

/** Repeats an operation in concurrent loops for a time. Returns operations per second. */
export const loops = async (
  concurrency: number,
  seconds: number,
  operation: (loop: number) => Promise<unknown>
): Promise<number> => {
  const began = performance.now()
  const end = began + seconds * 1000
  let done = 0
  await Promise.all(
    Array.from({ length: concurrency }, async (_, loop) => {
      while (performance.now() < end) {
        await operation(loop)
        done++
      }
    })
  )
  return (done * 1000) / (performance.now() - began)
}
