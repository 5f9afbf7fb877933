/** The pages of examples/saas: /docs in a real Chromium, the inspector, and the metrics. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { TenantRegistry } from "effect-eventsourcing"
import { Inspector } from "effect-eventsourcing/inspector"
import { PgServer } from "effect-eventsourcing/pg"
import type { Browser } from "playwright-core"
import * as App from "../../examples/saas/App.ts"
import * as Server from "../../examples/saas/Server.ts"
import * as Tokens from "../../examples/saas/Tokens.ts"
import { launch } from "../inspector/support/browser.ts"
import { servers } from "../support/Databases.ts"

class Running extends Context.Service<
  Running,
  { readonly url: string; readonly token: string; readonly browser: Browser }
>()("test/Running") {}

const server = servers[0] ?? assert.fail("no server")

const running = Layer.effect(
  Running,
  Effect.gen(function* () {
    const session = yield* Inspector.session({
      path: "/inspector",
      access: { actor: "operator", tenants: "all" }
    })
    const service = yield* Layer.build(
      App.layer({
        port: 0,
        database: Layer.unwrap(Effect.map(server.freshDatabase, ({ owner }) => PgServer.layer(owner))),
        resolver: Tokens.layerDevelopment,
        tokens: yield* Tokens.ofShops,
        session
      })
    )
    const { provision } = Context.get(service, TenantRegistry.TenantRegistry)
    yield* Effect.forEach(Tokens.shops, ({ tenantId }) => provision(tenantId))
    const browser = yield* Effect.acquireRelease(Effect.promise(launch), (launched) =>
      Effect.promise(() => launched.close())
    )
    return { url: Context.get(service, Server.Server).url, token: session.token, browser }
  }).pipe(Effect.orDie)
)

layer(running, { excludeTestServices: true, timeout: "1 minute" })("the pages of examples/saas", (it) => {
  it.effect("the page shows them, offers the token of each shop, and asks no other host", () =>
    Effect.gen(function* () {
      const { browser, url } = yield* Running
      yield* Effect.promise(async () => {
        const page = await browser.newPage({ locale: "en-GB", viewport: { width: 1400, height: 900 } })
        page.setDefaultTimeout(20_000)
        const requests: Array<string> = []
        const authorizations: Array<string> = []
        page.on("request", (request) => {
          requests.push(request.url())
          const authorization = request.headers()["authorization"]
          if (authorization !== undefined) authorizations.push(authorization)
        })
        await page.goto(`${url}/docs`)
        await page.getByText("Place an order").first().waitFor()
        await page.waitForLoadState("networkidle")
        // The tokens are on the page alone.
        assert.notInclude(await (await fetch(`${url}/openapi.json`)).text(), "eyJ")
        const picture = process.env["SAAS_PICTURE"]
        if (picture !== undefined) await page.screenshot({ path: picture })
        const box = (await page.locator("body").textContent()) ?? ""
        assert.include(box, "Teashop")
        // The list of the box has both.
        await page
          .getByRole("button", { name: /Teashop/ })
          .first()
          .click()
        await page.getByText("Bookshop").first().waitFor()
        if (picture !== undefined) await page.screenshot({ path: picture.replace(".png", "-2.png") })
        const own = [new URL(url).origin, "data:", "blob:"]
        assert.deepStrictEqual(
          requests.filter((request) => !own.some((start) => request.startsWith(start))),
          []
        )
        await page.close()
      })
    })
  )

  it.effect("the inspector opens for the token, and the metrics are there for Prometheus", () =>
    Effect.gen(function* () {
      const { browser, token, url } = yield* Running
      yield* Effect.promise(async () => {
        const page = await browser.newPage({ locale: "en-GB" })
        page.setDefaultTimeout(20_000)
        await page.goto(`${url}/inspector/#token=${token}`)
        await page.getByLabel(/Reason for looking/).fill("alert")
        await page.getByRole("button", { name: "Look" }).click()
        await page.getByText(/2 tenants/).waitFor()
        assert.include((await page.locator("body").textContent()) ?? "", Tokens.shops[0].tenantId)
        await page.close()
        const refused = await fetch(`${url}/inspector/api/me?reason=x`)
        assert.strictEqual(refused.status, 401)
        const metrics = await fetch(`${url}/metrics`)
        assert.strictEqual(metrics.status, 200)
        const text = await metrics.text()
        assert.match(text, /^# TYPE eventsourcing_/m)
        for (const { tenantId } of Tokens.shops) assert.notInclude(text, tenantId)
      })
    })
  )
})
