/** An aggregate for tests of the command line. */
import { Schema } from "effect"
import * as Aggregate from "../../src/domain/Aggregate.ts"

export const Deposited = Schema.TaggedStruct("Deposited", { amount: Schema.Int, note: Schema.String })
export const Account = Aggregate.make(
  "Account",
  {
    id: Schema.String,
    state: Schema.Struct({ balance: Schema.Int }),
    initial: { balance: 0 },
    events: [Deposited]
  },
  { Deposited: ({ balance }, { amount }) => ({ balance: balance + amount }) }
)
