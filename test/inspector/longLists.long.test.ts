/** Lists of 10,000 tenants and of a log of 1,000,000 events in a real Chromium. */
import { afterAll, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import type { Browser, Page } from "playwright-core"
import { launch } from "./support/browser.ts"
import { countNodes, longLists, oneTenant } from "./support/longLists.ts"

let browser: Browser
const scope = Scope.makeUnsafe()

beforeAll(async () => {
  browser = await launch()
})

afterAll(async () => {
  await browser.close()
  await Effect.runPromise(Scope.close(scope, Exit.void))
})

type Lists = Effect.Success<ReturnType<typeof longLists>>

const tenants = 10_000
const events = 1_000_000

describe("long lists", { timeout: 120_000 }, () => {
  let page: Page
  let lists: Lists

  beforeAll(async () => {
    lists = await Effect.runPromise(Scope.provide(longLists(tenants, events), scope))
    // The height of a large screen, on which more rows are visible.
    const context = await browser.newContext({ viewport: { width: 2560, height: 1440 }, locale: "en-GB" })
    page = await context.newPage()
    page.setDefaultTimeout(30_000)
    await page.addInitScript('sessionStorage.setItem("reason", "alert 17")')
  })

  const rowOf = (index: number) => page.locator(`[data-index='${index}']`)

  /** Moves the scroll bar to a fraction of the list. */
  const scrollTo = (fraction: number) =>
    page.evaluate(`(() => {
      const scroller = document.querySelector(".scroller")
      scroller.scrollTop = ${fraction} * (scroller.scrollHeight - scroller.clientHeight)
    })()`)

  const assertSmall = async () => assert.isAtMost(await page.evaluate<number>(countNodes), 2000)

  /** Fails unless the row is within the list that is seen. */
  const assertSeen = async (index: number) => {
    const row = await rowOf(index).boundingBox()
    const list = await page.locator(".scroller").boundingBox()
    assert.isAtLeast(row?.y ?? Number.NaN, (list?.y ?? Number.NaN) - 1)
    assert.isAtMost((row?.y ?? Number.NaN) + 32, (list?.y ?? Number.NaN) + (list?.height ?? Number.NaN) + 1)
  }

  it("reach the first and the last of 1,000,000 events and any between, with few nodes", async () => {
    await page.goto(`${lists.url}/inspector/#/t/${oneTenant}/log`)
    await rowOf(0).getByRole("link", { name: "1,000,000", exact: true }).waitFor()
    await assertSmall()
    await scrollTo(1)
    await rowOf(events - 1)
      .getByRole("link", { name: "1", exact: true })
      .waitFor()
    await assertSeen(events - 1)
    await assertSmall()
    await scrollTo(0.5)
    await rowOf(events / 2)
      .getByRole("link", { name: "500,000", exact: true })
      .waitFor()
    await assertSmall()
    await scrollTo(0)
    await rowOf(0).getByRole("link", { name: "1,000,000", exact: true }).waitFor()
    await assertSeen(0)
  })

  it("scroll as far as the wheel turns, also where the list is higher than its element", async () => {
    await page.goto(`${lists.url}/inspector/#/t/${oneTenant}/log?`)
    await rowOf(0).waitFor()
    await scrollTo(0.5)
    await rowOf(events / 2).waitFor()
    const before = await rowOf(events / 2).boundingBox()
    await page.mouse.move(600, 900)
    await page.mouse.wheel(0, 96)
    // Three rows further on.
    await vi.waitFor(
      async () => {
        const now = await rowOf(events / 2).boundingBox()
        assert.closeTo(now?.y ?? Number.NaN, (before?.y ?? Number.NaN) - 96, 1)
      },
      { timeout: 30_000, interval: 20 }
    )
  })

  it("reach the last of 10,000 tenants, with few nodes", async () => {
    await page.goto(`${lists.url}/inspector/#/tenants`)
    const loaded = () => page.locator(".list").getAttribute("aria-rowcount")
    await rowOf(0).waitFor()
    for (let count = await loaded(); count !== String(tenants + 1); count = await loaded()) {
      // Again each time, as a person does: the list becomes higher only after its rows are counted.
      await vi.waitFor(
        async () => {
          await scrollTo(1)
          assert.notStrictEqual(await loaded(), count)
        },
        { timeout: 30_000, interval: 20 }
      )
      await assertSmall()
    }
    await scrollTo(1)
    await rowOf(tenants - 1).waitFor()
    await assertSeen(tenants - 1)
  })
})
