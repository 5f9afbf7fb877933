import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Duration, Effect, Exit, Layer, Logger, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { exportJWK, exportSPKI, generateKeyPair } from "jose"
import { createHmac } from "node:crypto"
import { execFile } from "node:child_process"
import { createServer } from "node:http"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import * as JwtResolver from "../../src/http/JwtResolver.ts"
import { type Guarded, serve, tenantA } from "./support/guarded.ts"
import {
  audience,
  base64url,
  claims,
  issuer,
  options,
  resolver,
  secret,
  sign,
  withToken
} from "./support/tokens.ts"
import { flipped } from "../../src/testing/failures.ts"

const run = promisify(execFile)

const rsa = await generateKeyPair("RS256", { extractable: true })
const otherRsa = await generateKeyPair("RS256", { extractable: true })
const publicKey = await exportSPKI(rsa.publicKey)

const rsaOptions: JwtResolver.Options = {
  key: { publicKey, algorithms: ["RS256"] },
  issuer,
  audience
}
const rsaResolver = Layer.orDie(JwtResolver.layer(rsaOptions))

/** Sends a token, and expects a refusal that executes nothing and reveals nothing of the token. */
const refused = (
  { send, executions }: Guarded,
  init: RequestInit,
  expected: { readonly status: number; readonly problem: string; readonly reason?: string }
) =>
  Effect.gen(function* () {
    const { status, headers, body, text, problem } = yield* send("/whoami", init)
    assert.deepStrictEqual(
      { status, problem, reason: body["reason"] },
      { ...expected, reason: expected.reason }
    )
    assert.isString(body["title"])
    assert.notInclude(text, tenantA)
    assert.strictEqual(
      headers.get("www-authenticate"),
      expected.status !== 401
        ? null
        : expected.reason === undefined
          ? "Bearer"
          : 'Bearer error="invalid_token"'
    )
    assert.isString(headers.get("x-correlation-id"))
    assert.strictEqual(yield* executions, 0)
  })

const malformed = { status: 400, problem: "credential-malformed" }
const rejected = (reason: string) => ({ status: 401, problem: "credential-rejected", reason })

describe("a bearer token", () => {
  it.effect("identifies the tenant and the actor of the request", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(resolver)
      const { status, body } = yield* send("/whoami", withToken(yield* sign({ role: "clerk" })))
      assert.strictEqual(status, 200)
      assert.deepInclude(body, { tenantId: tenantA, actor: "ada", role: "clerk" })
    })
  )

  it.effect("may omit the actor, and write the tenant and the scheme in upper case", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(resolver)
      const token = yield* sign({ tenant_id: tenantA.toUpperCase() }, {}, ["sub"])
      const { body } = yield* send("/whoami", { headers: { authorization: `bearer  ${token}` } })
      assert.deepInclude(body, { tenantId: tenantA, actor: null })
    })
  )

  it.effect("that is missing is a 401", () =>
    Effect.gen(function* () {
      yield* refused(yield* serve(resolver), {}, { status: 401, problem: "credential-missing" })
    })
  )

  const good = "aaaa.bbbb.cccc"
  for (const [what, authorization] of Object.entries({
    "another scheme": "Basic YTpi",
    "no token": "Bearer",
    garbage: "Bearer garbage",
    "three parts of garbage": `Bearer ${good}`,
    "an empty header": "",
    "spaces in it": "Bearer a b",
    "two of them in one header": `Bearer ${good}, Bearer ${good}`
  })) {
    it.effect(`that is malformed is a 400: ${what}`, () =>
      Effect.gen(function* () {
        yield* refused(yield* serve(resolver), { headers: { authorization } }, malformed)
      })
    )
  }

  it.effect("that is given twice is a 400, even if both are good", () =>
    Effect.gen(function* () {
      const guarded = yield* serve(resolver)
      const token = yield* sign()
      const headers = new Headers()
      headers.append("authorization", `Bearer ${token}`)
      headers.append("authorization", `Bearer ${token}`)
      yield* refused(guarded, { headers }, malformed)
    })
  )

  for (const [what, tenant_id] of Object.entries({
    "none at all": undefined,
    "no UUID": "acme",
    "the reserved one": "00000000-0000-0000-0000-000000000000",
    "a wildcard": "%",
    "one in braces": `{${tenantA}}`,
    "one with a blank": `${tenantA} `,
    "one with a zero-width character": `${tenantA}\u200b`,
    "an array of one": [tenantA],
    "a number": 1,
    null: null
  })) {
    it.effect(`without a valid tenant is a 400: ${what}`, () =>
      Effect.gen(function* () {
        yield* refused(yield* serve(resolver), withToken(yield* sign({ tenant_id })), malformed)
      })
    )
  }

  for (const [what, sub] of Object.entries({
    "too long": "a".repeat(256),
    empty: "",
    "with U+0000": "a\0",
    "with a second line": "ada\r\nlevel=ERROR forged",
    "with a line feed": "ada\n",
    "with a tab": "a\tb",
    "with an escape": "\u001b[31mada",
    "with a control character of Latin 1": "a\u0085b",
    "with a separator of lines": "a\u2028b"
  })) {
    it.effect(`with an actor that cannot be stored is a 400: ${what}`, () =>
      Effect.gen(function* () {
        yield* refused(yield* serve(resolver), withToken(yield* sign({ sub })), malformed)
      })
    )
  }

  it.effect("that was altered after it was signed is refused", () =>
    Effect.gen(function* () {
      const [header, payload, signature] = (yield* sign()).split(".")
      const forged = base64url({ ...(yield* claims), sub: "eve" })
      assert.notStrictEqual(forged, payload)
      const guarded = yield* serve(resolver)
      yield* refused(guarded, withToken(`${header}.${forged}.${signature}`), rejected("signature"))
    })
  )

  it.effect("that was signed with another key is refused", () =>
    Effect.gen(function* () {
      const key = new TextEncoder().encode("another secret of more than forty bytes")
      yield* refused(yield* serve(resolver), withToken(yield* sign({}, { key })), rejected("signature"))
      const token = yield* sign({}, { key: otherRsa.privateKey, alg: "RS256" })
      yield* refused(yield* serve(rsaResolver), withToken(token), rejected("signature"))
    })
  )

  it.effect("that claims to need no signature is refused", () =>
    Effect.gen(function* () {
      for (const alg of ["none", "None", "nOnE"]) {
        const unsigned = `${base64url({ alg })}.${base64url(yield* claims)}.`
        yield* refused(yield* serve(resolver), withToken(unsigned), rejected("algorithm"))
        const signature = (yield* sign()).split(".")[2]
        yield* refused(yield* serve(resolver), withToken(unsigned + signature), rejected("algorithm"))
      }
    })
  )

  it.effect("that uses the public key as a shared secret is refused", () =>
    Effect.gen(function* () {
      const signed = `${base64url({ alg: "HS256", typ: "JWT" })}.${base64url(yield* claims)}`
      for (const key of [publicKey, publicKey.trim()]) {
        const signature = createHmac("sha256", key).update(signed).digest("base64url")
        yield* refused(yield* serve(rsaResolver), withToken(`${signed}.${signature}`), rejected("algorithm"))
      }
    })
  )

  it.effect("with a valid signature of an algorithm that is not configured is refused", () =>
    Effect.gen(function* () {
      const key = new TextEncoder().encode(secret.repeat(2))
      const token = yield* sign({}, { key, alg: "HS512" })
      yield* refused(yield* serve(resolver), withToken(token), rejected("algorithm"))
      const pss = yield* sign(
        {},
        { key: (yield* Effect.promise(() => generateKeyPair("PS256"))).privateKey, alg: "PS256" }
      )
      yield* refused(yield* serve(rsaResolver), withToken(pss), rejected("algorithm"))
    })
  )

  for (const [what, signed, reason] of [
    ["of another issuer", sign({ iss: "https://other.test" }), "issuer"],
    ["without an issuer", sign({}, {}, ["iss"]), "issuer"],
    ["for another audience", sign({ aud: "other" }), "audience"],
    ["for several others", sign({ aud: ["other", "services"] }), "audience"],
    ["without an audience", sign({}, {}, ["aud"]), "audience"],
    ["that never expires", sign({}, {}, ["exp"]), "claims"]
  ] as const) {
    it.effect(`${what} is refused`, () =>
      Effect.gen(function* () {
        yield* refused(yield* serve(resolver), withToken(yield* signed), rejected(reason))
      })
    )
  }

  it.effect("that has expired, or is not valid yet, is refused, to the second", () =>
    Effect.gen(function* () {
      const guarded = yield* serve(resolver)
      const expiring = yield* sign()
      const later = yield* sign({ nbf: 30 })
      yield* refused(guarded, withToken(later), rejected("notYetValid"))
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual((yield* guarded.send("/whoami", withToken(expiring))).status, 200)
      assert.strictEqual((yield* guarded.send("/whoami", withToken(later))).status, 200)
      yield* TestClock.adjust("1 second")
      const { body, problem } = yield* guarded.send("/whoami", withToken(expiring))
      assert.deepStrictEqual([problem, body["reason"]], ["credential-rejected", "expired"])
    })
  )

  it.effect("that was issued in the future is refused, except within the clock tolerance", () =>
    Effect.gen(function* () {
      const guarded = yield* serve(resolver)
      const aged = yield* serve(Layer.orDie(JwtResolver.layer({ ...options, maxTokenAge: "5 minutes" })))
      const tolerant = yield* serve(
        Layer.orDie(JwtResolver.layer({ ...options, clockTolerance: "5 seconds" }))
      )
      for (const iat of [1, 5, 3600]) {
        yield* refused(guarded, withToken(yield* sign({ iat })), rejected("notYetValid"))
        yield* refused(aged, withToken(yield* sign({ iat })), rejected("notYetValid"))
      }
      yield* refused(tolerant, withToken(yield* sign({ iat: 6 })), rejected("notYetValid"))
      assert.strictEqual((yield* tolerant.send("/whoami", withToken(yield* sign({ iat: 5 })))).status, 200)
      assert.strictEqual((yield* guarded.send("/whoami", withToken(yield* sign({ iat: 0 })))).status, 200)
    })
  )

  it.effect("is accepted within the clock tolerance, and up to its maximum age", () =>
    Effect.gen(function* () {
      const { send } = yield* serve(
        Layer.orDie(JwtResolver.layer({ ...options, clockTolerance: "5 seconds", maxTokenAge: "5 minutes" }))
      )
      const token = yield* sign({ iat: 0 })
      const old = yield* sign({ iat: 0, exp: 3600 })
      yield* TestClock.adjust("64 seconds")
      assert.strictEqual((yield* send("/whoami", withToken(token))).status, 200)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* send("/whoami", withToken(token))).body["reason"], "expired")
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual((yield* send("/whoami", withToken(old))).body["reason"], "expired")
    })
  )

  it.effect("must name the tenant in the configured claim", () =>
    Effect.gen(function* () {
      const guarded = yield* serve(
        Layer.orDie(
          JwtResolver.layer({ ...options, tenantClaim: "https://acme.test/tenant", actorClaim: "email" })
        )
      )
      const token = yield* sign({ "https://acme.test/tenant": tenantA, email: "ada@acme.test" })
      assert.deepInclude((yield* guarded.send("/whoami", withToken(token))).body, { actor: "ada@acme.test" })
      const { status } = yield* guarded.send("/whoami", withToken(yield* sign()))
      assert.strictEqual(status, 400)
    })
  )
})

describe("a key set", () => {
  it.effect("verifies tokens of each of its keys, also without a key id", () =>
    Effect.gen(function* () {
      const jwks = yield* Effect.promise(async () => [
        { ...(await exportJWK(otherRsa.publicKey)), kid: "1", alg: "RS256" },
        { ...(await exportJWK(rsa.publicKey)), kid: "2", alg: "RS256" }
      ])
      const key = { keySet: { keys: jwks }, algorithms: ["RS256"] } as const
      const { send } = yield* serve(Layer.orDie(JwtResolver.layer({ ...rsaOptions, key })))
      const foreign = yield* Effect.promise(() => generateKeyPair("RS256"))
      const send2 = (privateKey: typeof rsa.privateKey, kid?: string) =>
        Effect.flatMap(
          sign({}, { key: privateKey, alg: "RS256", ...(kid === undefined ? {} : { kid }) }),
          (token) => send("/whoami", withToken(token))
        )
      assert.strictEqual((yield* send2(rsa.privateKey, "2")).status, 200)
      assert.strictEqual((yield* send2(rsa.privateKey)).status, 200)
      assert.strictEqual((yield* send2(otherRsa.privateKey)).status, 200)
      assert.strictEqual((yield* send2(rsa.privateKey, "1")).body["reason"], "signature")
      assert.strictEqual((yield* send2(rsa.privateKey, "3")).body["reason"], "signature")
      assert.strictEqual((yield* send2(foreign.privateKey)).body["reason"], "signature")
    })
  )

  /** An issuer with configurable answers. */
  const issuing = Effect.gen(function* () {
    const jwk = yield* Effect.promise(() => exportJWK(rsa.publicKey))
    const state = { fetched: 0, status: 200, keys: [{ ...jwk, kid: "1", alg: "RS256" }] }
    const { port } = yield* Effect.acquireRelease(
      Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
        const server = createServer((_request, response) => {
          state.fetched++
          response.writeHead(state.status, { "content-type": "application/json" })
          response.end(JSON.stringify({ keys: state.keys }))
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          resume(
            Effect.succeed({
              port: typeof address === "object" && address !== null ? address.port : 0,
              close: () => {
                server.close()
                server.closeAllConnections()
              }
            })
          )
        })
      }),
      ({ close }) => Effect.sync(close)
    )
    const key = { keySetUrl: `http://127.0.0.1:${port}/jwks`, algorithms: ["RS256"] } as const
    return { state, key }
  })

  it.live("is fetched once and cached, and answered with 503 if it cannot be fetched", () =>
    Effect.gen(function* () {
      const { state, key } = yield* issuing
      state.status = 500
      const { send } = yield* serve(Layer.orDie(JwtResolver.layer({ ...rsaOptions, key })))
      const init = withToken(yield* sign({}, { key: rsa.privateKey, alg: "RS256", kid: "1" }))
      const away = yield* send("/whoami", init)
      assert.deepStrictEqual([away.status, away.problem], [503, "tenant-check-unavailable"])
      assert.strictEqual(away.headers.get("retry-after"), "1")
      assert.strictEqual(state.fetched, 1)
      state.status = 200
      const answers = yield* Effect.forEach([1, 2, 3, 4], () => send("/whoami", init), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        answers.map((answer) => answer.status),
        [200, 200, 200, 200]
      )
      assert.strictEqual(state.fetched, 2)
    })
  )

  it.live(
    "is used for the configured time after the issuer became unreachable, with a warning in the log",
    () =>
      Effect.gen(function* () {
        const { state, key } = yield* issuing
        const logged: Array<unknown> = []
        const logger = Logger.make(({ message }) => void logged.push(message))
        const warnings = () =>
          logged.filter((message) => String(message).includes("the last one is used")).length
        const resolverOf = (keepFor: Duration.Input) =>
          Layer.orDie(
            JwtResolver.layer({
              ...rsaOptions,
              key: { ...key, cacheFor: "20 millis", timeout: "1 second", keepFor }
            })
          )
        yield* Effect.gen(function* () {
          const kept = yield* serve(resolverOf("1 minute"))
          const brief = yield* serve(resolverOf("20 millis"))
          const none = yield* serve(resolverOf(0))
          const init = withToken(yield* sign({}, { key: rsa.privateKey, alg: "RS256", kid: "1" }))
          const other = withToken(yield* sign({}, { key: otherRsa.privateKey, alg: "RS256", kid: "2" }))
          const forged = withToken(yield* sign({}, { key: otherRsa.privateKey, alg: "RS256", kid: "1" }))
          const all = [kept, brief, none]
          for (const { send } of all) assert.strictEqual((yield* send("/whoami", init)).status, 200)
          state.status = 500
          yield* Effect.sleep("60 millis")
          const statuses = yield* Effect.forEach(all, ({ send }) =>
            Effect.map(send("/whoami", init), ({ status }) => status)
          )
          assert.deepStrictEqual(statuses, [200, 503, 503])
          assert.strictEqual(warnings(), 1)
          // Fetched once, and not again for each token.
          const { fetched } = state
          for (let count = 0; count < 5; count++)
            assert.strictEqual((yield* kept.send("/whoami", init)).status, 200)
          assert.deepStrictEqual([state.fetched - fetched, warnings()], [0, 1])
          assert.strictEqual((yield* kept.send("/whoami", forged)).body["reason"], "signature")
          // The token may be signed with a newer key of the issuer.
          assert.strictEqual((yield* kept.send("/whoami", other)).status, 503)
          state.status = 200
          for (const { send } of [brief, none]) assert.strictEqual((yield* send("/whoami", init)).status, 200)
        }).pipe(Effect.provide(Logger.layer([logger])))
      })
  )

  it.live("that is fetched again replaces the last one", () =>
    Effect.gen(function* () {
      const { state, key } = yield* issuing
      const { send } = yield* serve(
        Layer.orDie(JwtResolver.layer({ ...rsaOptions, key: { ...key, cacheFor: "20 millis" } }))
      )
      const init = withToken(yield* sign({}, { key: rsa.privateKey, alg: "RS256", kid: "1" }))
      assert.strictEqual((yield* send("/whoami", init)).status, 200)
      state.keys = []
      yield* Effect.sleep("40 millis")
      assert.strictEqual((yield* send("/whoami", init)).body["reason"], "signature")
    })
  )
})

describe("settings that would accept wrong tokens", () => {
  const problemOf = (changed: Partial<JwtResolver.Options>) =>
    Effect.map(flipped(JwtResolver.make({ ...options, ...changed })), ({ message }) => message)

  it.effect("are refused", () =>
    Effect.gen(function* () {
      const short = { secret: Redacted.make("short"), algorithms: ["HS256"] } as const
      const problem = yield* problemOf({ key: short })
      assert.include(problem, "the secret has 5 bytes, HS256 need 32 or more")
      assert.include(
        yield* problemOf({ key: { ...short, secret: Redacted.make(secret), algorithms: ["HS512"] } }),
        "64 or more"
      )
      assert.include(yield* problemOf({ issuer: "" }), "the issuer is missing")
      assert.include(yield* problemOf({ audience: " " }), "the audience is missing")
      assert.include(
        yield* problemOf({ key: { publicKey: "no key", algorithms: ["RS256"] } }),
        "the public key is not"
      )
      assert.include(
        yield* problemOf({ key: { publicKey, algorithms: ["ES256"] } }),
        "the public key is not one for ES256"
      )
      const remote = { algorithms: ["RS256"] } as const
      assert.include(yield* problemOf({ key: { ...remote, keySetUrl: "http://issuer.test" } }), "https")
      assert.include(yield* problemOf({ key: { ...remote, keySetUrl: "nowhere" } }), "not a URL")
      assert.include(
        yield* problemOf({ key: { ...remote, keySetUrl: "https://issuer.test", keepFor: Infinity } }),
        "is not finite"
      )
      assert.include(yield* problemOf({ clockTolerance: Infinity }), "the clock tolerance is not finite")
    })
  )

  it.effect("are also refused if a cast let them through", () =>
    Effect.gen(function* () {
      const unchecked = (key: unknown) => problemOf({ key: key as JwtResolver.Key })
      const expected = "the algorithms do not fit this kind of key"
      assert.include(yield* unchecked({ publicKey, algorithms: ["HS256"] }), expected)
      assert.include(yield* unchecked({ secret: Redacted.make(secret), algorithms: ["none"] }), expected)
      assert.include(yield* unchecked({ secret: Redacted.make(secret), algorithms: ["RS256"] }), expected)
      assert.include(yield* unchecked({ secret: Redacted.make(secret), algorithms: [] }), expected)
    })
  )
})

describe("without jose", () => {
  it.live("the layer names the missing package, and the rest of the module works", () =>
    Effect.gen(function* () {
      const hook =
        "export const resolve = async (name, context, next) => {" +
        " if (name !== 'jose') return next(name, context);" +
        " throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' }) }"
      const register = `import { register } from "node:module"; register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hook)}))`
      const program = `
        import { Effect } from "effect"
        import * as Http from "./src/http/index.ts"
        const error = await Effect.runPromise(Effect.flip(Http.JwtResolver.make({})))
        console.log(error._tag + ": " + error.message)
        await Effect.runPromise(Http.ProxyHeaderResolver.make({ proxy: { peers: ["::1"] } }))`
      const { stdout } = yield* Effect.promise(() =>
        run(
          process.execPath,
          [
            "--import",
            "tsx",
            "--import",
            `data:text/javascript,${encodeURIComponent(register)}`,
            "--input-type=module",
            "--eval",
            program
          ],
          { cwd: fileURLToPath(new URL("../..", import.meta.url)) }
        )
      )
      assert.strictEqual(
        stdout,
        "JoseNotInstalled: the package jose, which verifies tokens, is not installed: npm install jose\n"
      )
    })
  )
})

describe("settings from the environment", () => {
  const environment = (env: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnv({ env }))
  const needed = { JWT_ALGORITHMS: "HS256", JWT_ISSUER: issuer, JWT_AUDIENCE: `other, ${audience}` }
  const build = (env: Record<string, string>) =>
    Effect.exit(Effect.scoped(Layer.build(JwtResolver.layerConfig().pipe(Layer.provide(environment(env))))))

  it.effect("make a resolver", () =>
    Effect.gen(function* () {
      const Configured = JwtResolver.layerConfig().pipe(
        Layer.provide(environment({ ...needed, JWT_SECRET: secret, JWT_TENANT_CLAIM: "tid" })),
        Layer.orDie
      )
      const { send } = yield* serve(Configured)
      assert.strictEqual((yield* send("/whoami", withToken(yield* sign({ tid: tenantA })))).status, 200)
      const Rsa = JwtResolver.layerConfig().pipe(
        Layer.provide(
          environment({
            ...needed,
            JWT_ALGORITHMS: "RS256",
            JWT_PUBLIC_KEY: publicKey.replaceAll("\n", "\\n")
          })
        ),
        Layer.orDie
      )
      const rsaSend = (yield* serve(Rsa)).send
      const token = yield* sign({}, { key: rsa.privateKey, alg: "RS256" })
      assert.strictEqual((yield* rsaSend("/whoami", withToken(token))).status, 200)
    })
  )

  it.effect("must be complete, with one key and algorithms that fit it", () =>
    Effect.gen(function* () {
      const good = { ...needed, JWT_SECRET: secret }
      assert.isTrue(Exit.isSuccess(yield* build(good)))
      const keySet = {
        ...needed,
        JWT_ALGORITHMS: "RS256",
        JWT_KEY_SET_URL: "https://issuer.example/jwks.json"
      }
      const { key } = yield* JwtResolver.config.pipe(
        Effect.provide(environment({ ...keySet, JWT_KEY_SET_KEEP_FOR: "15 minutes" }))
      )
      assert.deepInclude(key, { keepFor: Duration.minutes(15) })
      assert.isTrue(Exit.isSuccess(yield* build({ ...keySet, JWT_KEY_SET_KEEP_FOR: "0 millis" })))
      for (const env of [
        needed,
        { ...good, JWT_ALGORITHMS: "" },
        { ...good, JWT_ALGORITHMS: "none" },
        { ...good, JWT_ALGORITHMS: "HS256,RS256" },
        { ...good, JWT_PUBLIC_KEY: publicKey },
        { ...good, JWT_ISSUER: "" },
        { ...good, JWT_AUDIENCE: "," },
        { ...needed, JWT_PUBLIC_KEY: publicKey },
        { ...good, JWT_KEY_SET_KEEP_FOR: "1 minute" },
        { ...keySet, JWT_KEY_SET_KEEP_FOR: "soon" },
        { ...keySet, JWT_KEY_SET_KEEP_FOR: "Infinity" }
      ]) {
        assert.isTrue(Exit.isFailure(yield* build(env)), JSON.stringify(env))
      }
    })
  )

  it.effect("may have a prefix", () =>
    Effect.gen(function* () {
      const env = {
        SHOP_JWT_ALGORITHMS: "HS256",
        SHOP_JWT_ISSUER: issuer,
        SHOP_JWT_AUDIENCE: audience,
        SHOP_JWT_SECRET: secret
      }
      const made = yield* Layer.build(
        JwtResolver.layerConfig(Config.nested(JwtResolver.config, "SHOP")).pipe(
          Layer.provide(environment(env))
        )
      )
      assert.isDefined(made)
    })
  )
})
