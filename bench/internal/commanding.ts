/**
 * Commands on two carts that other processes want as well, for `cases/commands.ts`. Argument: the connection, as JSON. Answers
 * each message, a number of seconds, with the number of carried out commands a second, and the events that were answered so far.
 */
import { Effect, Redacted } from "effect"
import * as Tenant from "../../src/domain/Tenant.ts"
import { addItem, startRepository } from "./commands.ts"
import { fibers } from "./ours.ts"

/** The task of a process. */
export interface Task {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: string
  readonly tenantId: string
  readonly fibers: number
}

/** The work of some seconds. */
export interface Progress {
  readonly rate: number
  readonly answered: number
}

/** All processes leave a cart of so many events for the next one: its number is in its id. */
const longest = 1000

const {
  fibers: count,
  password,
  tenantId: tenant,
  ...connection
} = JSON.parse(process.argv[2] ?? "{}") as Task
const runtime = startRepository({ ...connection, password: Redacted.make(password) })
const tenantId = Tenant.TenantId.make(tenant)
const numbers = [0, 0]
let answered = 0

const command = (fiber: number) =>
  Effect.suspend(() => {
    const cart = fiber % 2
    const number = numbers[cart] ?? 0
    return Effect.map(addItem(`${cart} ${number}`), ({ appended, version }) => {
      answered += appended
      if (version >= longest) numbers[cart] = number + 1
    })
  }).pipe(Tenant.provide(tenantId))

const work = async (seconds: number): Promise<Progress> => {
  const [before, began] = [answered, performance.now()]
  await runtime.runPromise(fibers(count, seconds, command))
  return { rate: ((answered - before) * 1000) / (performance.now() - began), answered }
}

process.on("message", (seconds: number) => {
  void work(seconds).then((progress) => process.send?.(progress))
})
