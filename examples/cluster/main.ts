/**
 * Orders of twenty shops on three processes, one of which is killed while it works:
 *
 *     DATABASE_URL=postgres://… npx tsx examples/cluster/main.ts
 *
 * The user of the database must own it. A call that fails or is not answered within two seconds is sent again with the same key, so each
 * line is added once. At the end the log is compared with the answers. `SECONDS` is 20 if it is not set, and `PORT`, the first of three, 34500.
 */
import { Console, Duration, Effect } from "effect"
import { shopping } from "./shopping.ts"

const url = process.env["DATABASE_URL"]
const seconds = Number(process.env["SECONDS"] ?? 20)

const program = Effect.gen(function* () {
  if (url === undefined) return yield* Console.error("DATABASE_URL must name a database of PostgreSQL.")
  const { answered, differing, processes, repeated, slowest } = yield* shopping({
    url,
    seconds,
    firstPort: Number(process.env["PORT"] ?? 34_500),
    disturb: ([first]) =>
      Effect.sync(() => first?.kill("SIGKILL")).pipe(
        Effect.andThen(Console.log(`process ${first?.pid} is killed`)),
        Effect.delay(Duration.seconds(seconds / 4))
      )
  })
  yield* Console.log(
    `${answered} lines answered by ${processes} processes, ${repeated} calls sent again, slowest answer ${slowest} ms`
  )
  yield* Console.log(
    differing === 0 ? "each line is stored once" : `the log of ${differing} shops differs from the answers`
  )
})

await Effect.runPromise(program)
