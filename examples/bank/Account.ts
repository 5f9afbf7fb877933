/**
 * A bank account: its events, its state, and its decisions.
 *
 * Not covered: currencies. Amounts are whole cents.
 */
import { Effect, Result, Schema } from "effect"
import { Aggregate, EventStore, Repository } from "effect-eventsourcing"

// Events

/** Cents. */
export const Amount = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 }))

export const Opened = Schema.TaggedStruct("Opened", { owner: Schema.NonEmptyString })
export const Deposited = Schema.TaggedStruct("Deposited", { amount: Amount })
export const Withdrawn = Schema.TaggedStruct("Withdrawn", { amount: Amount })
export const Closed = Schema.TaggedStruct("Closed", {})

// Fold

const AccountState = Schema.Struct({
  status: Schema.Literals(["none", "open", "closed"]),
  owner: Schema.NullOr(Schema.NonEmptyString),
  balance: Schema.Natural
})
type AccountState = typeof AccountState.Type

export const Account = Aggregate.make(
  "Account",
  {
    id: Schema.NonEmptyString.check(Schema.isMaxLength(34)),
    state: AccountState,
    initial: { status: "none", owner: null, balance: 0 },
    events: [Opened, Deposited, Withdrawn, Closed]
  },
  {
    Opened: (state, { owner }) => ({ ...state, status: "open", owner }),
    Deposited: (state, { amount }) => ({ ...state, balance: state.balance + amount }),
    Withdrawn: (state, { amount }) => ({ ...state, balance: state.balance - amount }),
    Closed: (state) => ({ ...state, status: "closed" })
  }
)

// Decisions

/** Raised when the account already belongs to another owner. */
export class AccountTaken extends Schema.TaggedError<AccountTaken>()("AccountTaken", {
  owner: Schema.String
}) {}

/** Raised when money is moved to or from an account that is not open. */
export class AccountNotOpen extends Schema.TaggedError<AccountNotOpen>()("AccountNotOpen", {}) {}

/** Raised when the balance is too low. */
export class Overdrawn extends Schema.TaggedError<Overdrawn>()("Overdrawn", {
  balance: Schema.Int,
  amount: Schema.Int
}) {}

/** Raised when an account with money on it is to be closed. */
export class AccountNotEmpty extends Schema.TaggedError<AccountNotEmpty>()("AccountNotEmpty", {
  balance: Schema.Int
}) {}

/** Opens an account. Opening it again for the same owner changes nothing. */
export const open = (owner: string) => (account: AccountState) => {
  if (account.status === "none") return Result.succeed([Opened.make({ owner })])
  if (account.status === "open" && account.owner === owner) return Result.succeed([])
  return Result.fail(new AccountTaken({ owner: account.owner ?? "" }))
}

/** Pays money in. */
export const deposit = (amount: number) => (account: AccountState) =>
  account.status === "open" ? Result.succeed([Deposited.make({ amount })]) : Result.fail(new AccountNotOpen())

/** Pays money out, up to the balance. */
export const withdraw =
  (amount: number) =>
  (
    account: AccountState
  ): Result.Result<ReadonlyArray<typeof Withdrawn.Type>, AccountNotOpen | Overdrawn> => {
    if (account.status !== "open") return Result.fail(new AccountNotOpen())
    return account.balance < amount
      ? Result.fail(new Overdrawn({ balance: account.balance, amount }))
      : Result.succeed([Withdrawn.make({ amount })])
  }

/** Closes an empty account. Closing it again changes nothing. */
export const close = (account: AccountState) => {
  if (account.status === "none") return Result.fail(new AccountNotOpen())
  if (account.status === "closed") return Result.succeed([])
  return account.balance === 0
    ? Result.succeed([Closed.make({})])
    : Result.fail(new AccountNotEmpty({ balance: account.balance }))
}

// Service

/** Opens an account with a first deposit. */
export const openWith = Effect.fn("openWith")(function* (id: string, owner: string, amount: number) {
  const repository = yield* Repository.Repository
  yield* repository.execute(Account, id, open(owner))
  const { state } = yield* repository.execute(Account, id, deposit(amount))
  return state.balance
})

/** Moves money between two accounts of the same bank. Both change, or neither. */
export const transfer = Effect.fn("transfer")(function* (from: string, to: string, amount: number) {
  const repository = yield* Repository.Repository
  const store = yield* EventStore.EventStore
  const source = yield* repository.load(Account, from)
  const target = yield* repository.load(Account, to)
  const paidOut = yield* Effect.fromResult(withdraw(amount)(source.state))
  const paidIn = yield* Effect.fromResult(deposit(amount)(target.state))
  yield* store.appendAll([
    { aggregate: Account, id: from, events: paidOut, expectedVersion: source.version },
    { aggregate: Account, id: to, events: paidIn, expectedVersion: target.version }
  ])
})

/** The balance of an account. */
export const balanceOf = Effect.fn("balanceOf")(function* (id: string) {
  const repository = yield* Repository.Repository
  const { state } = yield* repository.load(Account, id)
  return state.balance
})
