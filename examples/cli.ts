/**
 * The command line of a program, with its aggregate and its projection: it is `npx eventsourcing`, and also folds states, counts
 * pending work and rebuilds. Set `DATABASE_URL`, then:
 *
 *     npx tsx examples/cli.ts doctor
 *     npx tsx examples/cli.ts stream Account 1 --tenant … --state
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { Aggregate, Projection } from "effect-eventsourcing"
import { Cli } from "effect-eventsourcing/cli"

const Deposited = Schema.TaggedStruct("Deposited", { amount: Schema.Int })

const Account = Aggregate.make(
  "Account",
  {
    id: Schema.String,
    state: Schema.Struct({ balance: Schema.Int }),
    initial: { balance: 0 },
    events: [Deposited]
  },
  { Deposited: ({ balance }, { amount }) => ({ balance: balance + amount }) }
)

const Balances = Projection.make(
  "balances",
  { aggregates: [Account], tables: ["balances"] },
  {
    Deposited: ({ amount }, { aggregateId, tenantId }) =>
      SqlClient.SqlClient.use(
        (sql) => sql`
          insert into balances as known ${sql.insert({ tenant_id: tenantId, account: aggregateId, balance: amount })}
          on conflict (tenant_id, account) do update set balance = known.balance + excluded.balance`
      )
  }
)

Cli.make({ aggregates: [Account], projections: [Balances], name: "npx tsx examples/cli.ts" }).pipe(
  Cli.run({ version: "1.0.0" }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
