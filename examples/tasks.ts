/**
 * Tasks of two tenants in memory: creating, completing, and a log of its own for each tenant.
 *
 *     npx tsx examples/tasks.ts
 */
import { Console, Effect, Layer, Result, Schema, Stream } from "effect"
import { Aggregate, EventSourcing, EventStore, MemoryStorage, Repository, Tenant } from "effect-eventsourcing"

// Events: any tagged schema is one.

const TaskCreated = Schema.TaggedStruct("TaskCreated", { title: Schema.NonEmptyString })
const TaskCompleted = Schema.TaggedStruct("TaskCompleted", {})

// Fold: the state of a task, and its change by each event.

const TaskState = Schema.Struct({
  title: Schema.String,
  status: Schema.Literals(["missing", "open", "completed"])
})
type TaskState = typeof TaskState.Type

const Task = Aggregate.make(
  "Task",
  { state: TaskState, initial: { title: "", status: "missing" }, events: [TaskCreated, TaskCompleted] },
  {
    TaskCreated: (_state, { title }) => ({ title, status: "open" }),
    TaskCompleted: (state) => ({ ...state, status: "completed" })
  }
)

// Decisions: the events of a command, given the state. A repeated command yields none, so a client that lost the answer may
// simply ask again.

class TaskExists extends Schema.TaggedError<TaskExists>()("TaskExists", { title: Schema.String }) {}
class TaskMissing extends Schema.TaggedError<TaskMissing>()("TaskMissing", {}) {}

const create = (title: string) => (task: TaskState) => {
  if (task.status === "missing") return Result.succeed([TaskCreated.make({ title })])
  return task.title === title ? Result.succeed([]) : Result.fail(new TaskExists({ title: task.title }))
}

const complete = (task: TaskState) => {
  if (task.status === "missing") return Result.fail(new TaskMissing())
  return Result.succeed(task.status === "open" ? [TaskCompleted.make({})] : [])
}

// Program: it requires `CurrentTenant`, and does not compile until a tenant is provided.

const createTask = Effect.fn("createTask")(function* (title: string) {
  const repository = yield* Repository.Repository
  const id = yield* Effect.sync(() => crypto.randomUUID())
  yield* repository.execute(Task, id, create(title))
  return id
})

const completeTask = Effect.fn("completeTask")(function* (id: string) {
  const repository = yield* Repository.Repository
  yield* repository.execute(Task, id, complete)
})

const taskEvents = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  return yield* Stream.runCollect(store.readLog({ aggregates: [Task] }))
})

const program = Effect.gen(function* () {
  const tenantA = yield* Tenant.generate
  const tenantB = yield* Tenant.generate
  yield* Console.log(`Tenant A: ${tenantA}`)
  yield* Console.log(`Tenant B: ${tenantB}`)

  const guide = yield* createTask("Write the guide").pipe(Tenant.provide(tenantA))
  yield* Console.log("Created task in Tenant A: Write the guide")
  yield* createTask("Review the guide").pipe(Tenant.provide(tenantB))
  yield* Console.log("Created task in Tenant B: Review the guide")
  yield* completeTask(guide).pipe(Tenant.provide(tenantA))
  yield* Console.log("Completed task in Tenant A: Write the guide")

  const eventsA = yield* taskEvents.pipe(Tenant.provide(tenantA))
  const eventsB = yield* taskEvents.pipe(Tenant.provide(tenantB))
  yield* Console.log("Events for Tenant A:")
  for (const event of eventsA) yield* Console.log(`  ${event.eventType}`)
  yield* Console.log("Events for Tenant B:")
  for (const event of eventsB) yield* Console.log(`  ${event.eventType}`)

  // Reading across tenants takes another capability, whose actor and reason are recorded.
  const store = yield* EventStore.EventStore
  const total = yield* store.tenants.pipe(
    Stream.runFold(
      () => 0,
      (sum, { position }) => sum + position
    ),
    Tenant.provideAll({ actor: "examples/tasks.ts", reason: "count the events of all tenants" })
  )
  yield* Console.log(`Total events in store: ${total}`)
  yield* Console.log(`Tenant A tasks: ${eventsA.length} events`)
  yield* Console.log(`Tenant B tasks: ${eventsB.length} events`)

  // To Tenant B, a task of Tenant A does not exist: it gets the same answer as for an unused id.
  const refusal = yield* completeTask(guide).pipe(Tenant.provide(tenantB), Effect.flip)
  if (refusal._tag !== "TaskMissing") return yield* refusal
})

Effect.runPromise(program.pipe(Effect.provide(EventSourcing.layer.pipe(Layer.provide(MemoryStorage.layer)))))
