/** The page in a real Chromium: each view with two tenants of the same ids, the rights of operators, keyboard and accessibility. */
import { afterAll, assert, beforeAll, describe, it, vi } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { createRequire } from "node:module"
import { gzipSync } from "node:zlib"
import { readFileSync } from "node:fs"
import type { Browser, Page } from "playwright-core"
import { bundle } from "../../src/inspector/bundle.ts"
import { launch } from "./support/browser.ts"
import { canary, operatorHeader, site } from "./support/site.ts"

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

type Site = Effect.Success<typeof site>

let browser: Browser
let running: Site
const scope = Scope.makeUnsafe()

beforeAll(async () => {
  const [started, launched] = await Promise.all([Effect.runPromise(Scope.provide(site, scope)), launch()])
  running = started
  browser = launched
})

afterAll(async () => {
  await browser.close()
  await Effect.runPromise(Scope.close(scope, Exit.void))
})

interface Visitor {
  readonly page: Page
  /** The bodies of all answers of the API. */
  readonly answers: Array<string>
  /** Goes to a view and waits until it is there. */
  readonly to: (path: string) => Promise<string>
}

/** Visits the page as an operator, and fails if anything in it complains. */
const visiting = async (
  operator: string,
  run: (visitor: Visitor) => Promise<void>,
  options: { readonly dark?: boolean } = {}
): Promise<void> => {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    colorScheme: options.dark === true ? "dark" : "light",
    reducedMotion: "reduce",
    locale: "en-GB",
    timezoneId: "UTC",
    extraHTTPHeaders: { [operatorHeader]: operator }
  })
  // Errors, violations of the policy, and requests to others.
  const found: Array<string> = []
  const answers: Array<string> = []
  const page = await context.newPage()
  page.setDefaultTimeout(6000)
  page.on("pageerror", (error) => found.push(`error: ${error.message}`))
  page.on("console", (message) => {
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) found.push(message.text())
  })
  page.on("request", (request) => {
    const url = request.url()
    if (!url.startsWith(running.url) && !url.startsWith("data:")) found.push(`request to ${url}`)
  })
  page.on("response", (response) => {
    if (response.url().includes("/api/") && !response.url().includes("/tail"))
      response.text().then(
        (text) => answers.push(text),
        () => undefined
      )
  })
  await page.addInitScript(`
    sessionStorage.setItem("reason", "alert 17")
    addEventListener("securitypolicyviolation", (event) =>
      console.error("policy: " + event.violatedDirective + " " + event.blockedURI))`)
  const to = async (path: string): Promise<string> => {
    await page.goto(`${running.url}/inspector/#/${path}`)
    await page.locator("h1").waitFor()
    await page.waitForLoadState("networkidle")
    return (await page.locator("#app").textContent()) ?? ""
  }
  try {
    await run({ page, answers, to })
    assert.deepStrictEqual(found, [])
  } catch (failure) {
    if (found.length > 0) console.error(found)
    throw failure
  } finally {
    await context.close()
  }
}

/** The violations that axe finds. */
const violations = async (page: Page): Promise<ReadonlyArray<string>> => {
  // The policy of the page allows no script of others, so it is run from outside.
  await page.evaluate(`${axe};undefined`)
  return await page.evaluate<ReadonlyArray<string>>(`axe.run().then(({ violations }) => violations.map(
    ({ id, nodes }) => id + ": " + nodes.map(({ failureSummary, html }) => html + " " + failureSummary).join(" | ")))`)
}

/** Keeps a picture for the docs. */
const picture = (page: Page, name: string) =>
  page.screenshot({ path: new URL(`../../docs/inspector/${name}.png`, import.meta.url).pathname })

/** Pictures are kept on demand, because each machine draws others. */
const keepsPictures = process.env["INSPECTOR_PICTURES"] !== undefined

/** The views with a picture in the docs. */
const pictured: ReadonlySet<string> = new Set(
  keepsPictures ? ["log", "stream", "upcast", "causes", "projections", "dead-letters"] : []
)

const views: ReadonlyArray<readonly [string, string, RegExp]> = [
  ["log", "log", /5 events.*Deposited/],
  ["event", "log?show=2&from=2", /Deposited at 2.*Stored.*As read now/],
  ["filtered", "log?tags=large", /2 events found/],
  ["stream", "stream?type=Account&id=1&version=2", /Version 2 of 3.*State at version 2.*\/balance/],
  ["upcast", "stream?type=Account&id=1&version=1", /Stored.*owner.*As read now.*name/],
  ["causes", "causes?correlation=request", /3 events.*The same as a list/],
  ["decision", `decision?items=${encodeURIComponent("Deposited : large")}`, /1 events match/],
  ["projections", "projections", /parked.*at handle \(deposits/],
  ["dead-letters", "dead-letters", /1 dead letters in 1 groups/],
  ["subjects", "subjects", /1 people.*person/],
  ["chain", "chain", /The chain was/],
  ["accesses", "accesses", /Operations\./],
  ["tenant", "tenant", /Status ?active/]
]

/** The whole text of the page, when it has the expected one; the last text if it never has. */
const shown = async (page: Page, expected: RegExp): Promise<string> => {
  let text = ""
  await vi
    .waitFor(
      async () => {
        text = ((await page.locator("#app").textContent()) ?? "").replaceAll(/\s+/g, " ")
        assert.match(text, expected)
      },
      { timeout: 5000, interval: 30 }
    )
    .catch(() => undefined)
  return text
}

const goWithin = (page: Page, path: string) => page.evaluate(`location.hash = ${JSON.stringify(`#/${path}`)}`)

describe("the inspector", { timeout: 120_000 }, () => {
  it("shows each view of the tenant in the address, and nothing of the other with the same ids", async () => {
    await visiting("boss", async ({ answers, page, to }) => {
      const problems: Array<string> = []
      for (const [mine, own, foreign] of [
        [running.a, canary.a, canary.b],
        [running.b, canary.b, canary.a]
      ] as const) {
        answers.length = 0
        await to(`t/${mine}/log`)
        await page.getByLabel("Payloads").selectOption("full")
        let seen = ""
        for (const [name, path, expected] of views) {
          // Within the page, so that the choice of payloads stays.
          await goWithin(page, `t/${mine}/${path}`)
          const text = await shown(page, expected)
          if (!expected.test(text)) problems.push(`${name}: ${text}`)
          seen += text
          if (mine === running.a) {
            problems.push(...(await violations(page)).map((violation) => `${name}: ${violation}`))
            if (pictured.has(name)) await picture(page, name)
          }
        }
        assert.deepStrictEqual(problems, [])
        assert.include(seen, own)
        assert.notInclude(seen, foreign)
        assert.notInclude(answers.join("\n"), foreign)
      }
    })
  })

  it("lists the tenants that the operator sees, and refuses others", async () => {
    await visiting("alpha", async ({ page, to }) => {
      await to("tenants")
      const list = await shown(page, /1 tenants/)
      assert.include(list, running.a)
      assert.notInclude(list, running.b)
      await goWithin(page, `t/${running.b}/log`)
      await page.getByRole("alert").first().waitFor()
      const refused = await shown(page, /may not do this/)
      assert.match(refused, /may not do this/)
      assert.notInclude(refused, "Deposited")
    })
    await visiting("looker", async ({ page, to }) => {
      await to(`t/${running.a}/projections`)
      await shown(page, /parked/)
      assert.strictEqual(await page.getByRole("button", { name: "Resume" }).count(), 0)
      assert.strictEqual(await page.getByRole("button", { name: "Rebuild" }).count(), 0)
      assert.strictEqual(await page.getByRole("option", { name: "full" }).count(), 0)
      await goWithin(page, `t/${running.a}/log?show=1&from=1`)
      assert.match(await shown(page, /string\(15\)/), /string\(15\)/)
    })
  })

  it("is used by the keyboard alone: the tenant, the rows, the versions, the help", async () => {
    await visiting("boss", async ({ page, to }) => {
      await to("tenants")
      await shown(page, /2 tenants/)
      if (keepsPictures) await picture(page, "tenants")
      await page.keyboard.press("/")
      await page.keyboard.type(running.b.slice(0, 13))
      await page.keyboard.press("Enter")
      assert.match(await shown(page, /5 events.*Deposited/), /5 events.*Deposited/)
      assert.include(page.url(), running.b)
      await page.locator("[data-index='0'] a").first().focus()
      await page.keyboard.press("ArrowDown")
      const index = await page.evaluate('document.activeElement.closest("[role=row]").dataset.index')
      assert.strictEqual(index, "1")
      await page.keyboard.press("Enter")
      await page.getByRole("article", { name: "Event 4" }).waitFor()
      await goWithin(page, `t/${running.b}/stream?type=Account&id=1`)
      await shown(page, /Version 3 of 3/)
      await page.getByRole("heading", { name: "Stream" }).click()
      await page.keyboard.press("[")
      assert.match(await shown(page, /Version 2 of 3/), /Version 2 of 3/)
      await page.keyboard.press("]")
      assert.match(await shown(page, /Version 3 of 3/), /Version 3 of 3/)
      await page.keyboard.press("?")
      await page.getByRole("dialog", { name: "Keys" }).waitFor()
      assert.deepStrictEqual(await violations(page), [])
      await page.keyboard.press("Escape")
    })
  })

  it("follows the log live", async () => {
    await visiting("boss", async ({ page }) => {
      await page.goto(`${running.url}/inspector/#/t/${running.b}/log?live=yes`)
      await page.getByText("Live: 0 new events").waitFor()
      await Effect.runPromise(running.appendTo(running.a))
      await Effect.runPromise(running.appendTo(running.b))
      await page.getByText("Live: 1 new events").waitFor()
    })
  })

  it("leads from the alert of a parked projection to its resumption, in the dark as well", async () => {
    await visiting(
      "boss",
      async ({ page, to }) => {
        await to("tenants?order=distance")
        await shown(page, /suite/)
        if (keepsPictures) await picture(page, "runbook-1-tenants")
        await page
          .getByRole("link", { name: /suite .*−/ })
          .first()
          .click()
        await shown(page, /parked/)
        assert.deepStrictEqual(await violations(page), [])
        await page.getByRole("switch").check()
        await page.getByRole("img", { name: /Pending events/ }).waitFor()
        await page.getByRole("switch").uncheck()
        if (keepsPictures) await picture(page, "runbook-2-parked")
        await page.getByRole("link", { name: "2", exact: true }).first().click()
        await page.getByRole("article", { name: "Event 2" }).waitFor()
        if (keepsPictures) await picture(page, "runbook-3-event")
        await page.goBack()
        await page.getByRole("button", { name: "Resume" }).first().click()
        const dialog = page.getByRole("dialog", { name: "Resume" })
        await dialog.getByText(/It would change .*1 projections/).waitFor()
        assert.deepStrictEqual(await violations(page), [])
        if (keepsPictures) await picture(page, "runbook-4-dry-run")
        await dialog.getByRole("button", { name: "Resume now" }).click()
        await dialog.getByText(/Done: /).waitFor()
        await dialog.getByRole("button", { name: "Close" }).click()
        await page.getByRole("button", { name: "Resume" }).first().waitFor({ state: "detached" })
        if (keepsPictures) await picture(page, "runbook-5-resumed")
        await goWithin(page, "accesses?operation=Actions.resumeProjections")
        const recorded = /boss.*alert 17.*resumeProjections/
        assert.match(await shown(page, recorded), recorded)
      },
      { dark: true }
    )
  })

  it("asks for a reason first, and admits the browser with the token once", async () => {
    const context = await browser.newContext({ locale: "en-GB" })
    const page = await context.newPage()
    page.setDefaultTimeout(6000)
    await page.goto(`${running.url}/local#token=${running.token}`)
    await page.getByLabel(/Reason for looking/).fill("Störung 17")
    await page.getByRole("button", { name: "Look" }).click()
    assert.match(await shown(page, /2 tenants/), /local may look/)
    assert.notInclude(page.url(), "token")
    const [cookie] = await context.cookies()
    assert.deepInclude(cookie, { httpOnly: true, sameSite: "Strict", path: "/local/" })
    await context.close()
    const again = await fetch(`${running.url}/local/session`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token: running.token })
    })
    assert.strictEqual(again.status, 401)
    const without = await fetch(`${running.url}/local/api/me?reason=x`)
    assert.strictEqual(without.status, 401)
  })

  it("is small, the same in each build, and allows nothing of others", async () => {
    const [one, other] = [await bundle(), await bundle()]
    assert.deepStrictEqual([...one], [...other])
    const size = [...one.values()].reduce((sum, text) => sum + gzipSync(text).length, 0)
    assert.isBelow(size, 300_000)
    const index = one.get("index.html") ?? ""
    assert.notMatch(index, /<style|style=|<script(?![^>]* src=)| on\w+=/)
    for (const file of ["", "page.js", "page.css"]) {
      const { headers, status } = await fetch(`${running.url}/inspector/${file}`)
      assert.strictEqual(status, 200)
      const policy = headers.get("content-security-policy") ?? ""
      assert.include(policy, "default-src 'none'")
      assert.include(policy, "frame-ancestors 'none'")
      assert.notMatch(policy, /unsafe|\*|https?:/)
    }
    const slash = await fetch(`${running.url}/inspector`, { redirect: "manual" })
    assert.strictEqual(slash.headers.get("location"), "inspector/")
  })
})
