/**
 * Tests of a domain: examples of its decisions, laws for all of its histories, and two tenants that must not notice each
 * other.
 *
 *     npx vitest run examples/bank.test.ts
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Arbitraries, Laws, Scenario, TenantScenario } from "effect-eventsourcing/testing"
import * as Bank from "./bank/Account.ts"

const { Account } = Bank

const opened = Bank.Opened.make({ owner: "Ada" })
const deposited = (amount: number) => Bank.Deposited.make({ amount })
const withdrawn = (amount: number) => Bank.Withdrawn.make({ amount })

// Given past events, when a decision is made, then these events or this error follow. No store, no runtime.

describe("an account", () => {
  it("pays out what it has", () =>
    Scenario.given(Account, opened, deposited(100)).when(Bank.withdraw(30)).thenEvents(withdrawn(30)))

  it("does not pay out more than it has", () =>
    Scenario.given(Account, opened, deposited(10))
      .when(Bank.withdraw(30))
      .thenError(new Bank.Overdrawn({ balance: 10, amount: 30 })))

  it("keeps count", () =>
    Scenario.given(Account)
      .when(Bank.open("Ada"))
      .when(Bank.deposit(100))
      .when(Bank.withdraw(30))
      .thenState({ status: "open", owner: "Ada", balance: 70 }))

  it("belongs to one owner, who may ask for it twice", () =>
    Scenario.given(Account, opened)
      .when(Bank.open("Ada"))
      .thenNothing()
      .when(Bank.open("Grace"))
      .thenError(new Bank.AccountTaken({ owner: "Ada" })))

  it("is closed once it is empty", () =>
    Scenario.given(Account, opened, deposited(5))
      .when(Bank.close)
      .thenError(new Bank.AccountNotEmpty({ balance: 5 }))
      .when(Bank.withdraw(5))
      .when(Bank.close)
      .thenEvents(Bank.Closed.make({}))
      .when(Bank.deposit(5))
      .thenError(new Bank.AccountNotOpen()))
})

// Laws that hold after any history, each tested on a hundred random histories of the aggregate's own decisions. A broken law
// shows the shortest history that breaks it.

const decisions = {
  open: Arbitraries.decision(Schema.NonEmptyString, Bank.open),
  deposit: Arbitraries.decision(Bank.Amount, Bank.deposit),
  withdraw: Arbitraries.decision(Bank.Amount, Bank.withdraw),
  close: Bank.close
}

Laws.aggregate(Account, { decisions, idempotent: ["open", "close"] })

// A law of your own.

it.effect.prop(
  "nobody takes out more than was put in",
  [Arbitraries.history(Account, decisions)],
  ([{ events, state }]) =>
    Effect.sync(() => {
      const moved = events.map((event) =>
        event._tag === "Deposited" ? event.amount : event._tag === "Withdrawn" ? -event.amount : 0
      )
      assert.strictEqual(
        state.balance,
        moved.reduce((sum, amount) => sum + amount, 0)
      )
      assert.isAtLeast(state.balance, 0)
    })
)

// Two banks with accounts of the same numbers: neither sees anything of the other.

it.effect("banks do not notice each other", () =>
  TenantScenario.isolated({
    commands: {
      "open account 1": Bank.openWith("1", "Ada", 100),
      "open account 2": Bank.openWith("2", "Grace", 50),
      "pay Grace": Bank.transfer("1", "2", 30),
      "pay too much": Bank.transfer("1", "2", 1000)
    },
    observe: { "balance of 1": Bank.balanceOf("1"), "balance of 2": Bank.balanceOf("2") }
  })
)

// A single law, tested more often, and with any events in any order instead of valid histories.

it.effect("whatever happens to an account, it can be folded", () => Laws.foldIsTotal(Account, { runs: 500 }))
