/** The meaning of SQLSTATEs in failures of handlers. */
import { assert, describe, it } from "@effect/vitest"
import { SqlError } from "effect/sql"
import { describe as describeFailure } from "../../src/pg/failures.ts"
import { isTransient, toUnavailable } from "../../src/pg/sqlErrors.ts"

const withCode = (code: string, fields: object = {}, message = 'the trouble with "canary"') =>
  new SqlError.SqlError({
    reason: new SqlError.UnknownError({ cause: { code, message, ...fields }, message: "Query failed" })
  })

/** All other codes are failures of the handler. */
const kinds = {
  storage: [
    "08000",
    "08006",
    "25006",
    "25P03",
    "40001",
    "40P01",
    "53100",
    "53200",
    "53300",
    "55P03",
    "57000",
    "57014",
    "57P01",
    "57P03",
    "58030",
    "58P01",
    "XX000",
    "XX002"
  ],
  schema: ["42883", "42P01", "42703", "42501", "42601", "26000", "3F000", "0A000"],
  handler: [
    "22012",
    "23505",
    "23514",
    "P0001",
    "54000",
    "55000",
    "25P02",
    "28000",
    "2F004",
    "0L000",
    "ES001",
    "01000"
  ]
}

describe("a failure of a statement of the library", () => {
  it.each([
    ["22003", "correct the caller"],
    ["23505", "constraints and triggers"],
    ["25P02", "run the transaction again"],
    ["2D000", "PgTenant.transaction"],
    ["3D000", "the database does not exist"],
    ["54000", "make the request smaller"],
    ["55006", "pg_stat_activity"],
    ["58030", "look at its disk"],
    ["P0001", "triggers"],
    ["XX001", "amcheck"],
    ["ES001", "one for each tenant"],
    ["ES003", "PgTenant.transaction"],
    ["ES004", "Tenant.provideAll"]
  ])("with SQLSTATE %s names its remedy", (code, remedy) => {
    const error = toUnavailable("append", withCode(code))
    assert.include(error.message, `the storage failed to append (${code}): `)
    assert.include(error.message, remedy)
    assert.notInclude(error.message, "canary")
    assert.notInclude(error.message, "log of the database")
  })

  it("without a known SQLSTATE says where its text is", () => {
    assert.strictEqual(
      toUnavailable("append", withCode("99999")).message,
      "the storage failed to append (99999): a retry does not help, look for 99999 in the log of the database"
    )
  })
})

/** Node's error for a connection. */
const unconnected = (code: string) =>
  new SqlError.SqlError({
    reason: new SqlError.ConnectionError({
      cause: Object.assign(new Error("the certificate of canary"), { code }),
      message: "PgConnection: Failed to connect",
      operation: "connect"
    })
  })

describe("a connection that does not come about", () => {
  it.each([
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "CERT_HAS_EXPIRED",
    "CERT_NOT_YET_VALID",
    "CERT_REVOKED",
    "CRL_HAS_EXPIRED",
    "INVALID_CA",
    "INVALID_PURPOSE",
    "PATH_LENGTH_EXCEEDED",
    "HOSTNAME_MISMATCH",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
    "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED"
  ])("because of its certificate (%s) is not retried, and says what to correct", (code) => {
    const error = toUnavailable("append", unconnected(code))
    assert.isFalse(error.retryable)
    assert.isFalse(isTransient(unconnected(code)))
    assert.strictEqual(
      error.message,
      `no connection for the attempt to append (${code}): correct the address, the credentials or the certificate of the database`
    )
  })

  it.each(["ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EPIPE", "ERR_TLS_HANDSHAKE_TIMEOUT"])(
    "because the server does not answer (%s) is retried",
    (code) => {
      assert.isTrue(isTransient(unconnected(code)))
      assert.include(toUnavailable("append", unconnected(code)).message, `(${code}): try again later`)
    }
  )
})

describe("a failure on PostgreSQL", () => {
  it.each(Object.entries(kinds).flatMap(([kind, codes]) => codes.map((code) => [code, kind] as const)))(
    "with SQLSTATE %s is a failure of the %s",
    (code, kind) => {
      const found = describeFailure(withCode(code))
      assert.deepStrictEqual([found.kind, found.code], [kind, code])
      assert.strictEqual(found.unavailable === undefined, kind === "handler")
      // as during a failover or an upgrade
      if (["25006", "53100", "XX000"].includes(code)) assert.isTrue(found.unavailable?.retryable)
      assert.strictEqual(found.remedy === undefined, kind === "handler")
      assert.strictEqual(
        found.summary,
        `SqlError: UnknownError (${code})${found.remedy === undefined ? "" : `: ${found.remedy}`}`
      )
      assert.notInclude(found.summary, "canary")
    }
  )

  it("shows operators the names of the objects, and no rows or values", () => {
    const fields = { table: "orders", constraint: "orders_pkey", detail: "Key (id)=(canary) already exists." }
    assert.strictEqual(
      describeFailure(withCode("23505", fields, "duplicate key")).message,
      "duplicate key (table orders, constraint orders_pkey)"
    )
    assert.strictEqual(describeFailure(withCode("22P02")).message, 'the trouble with "…"')
    assert.strictEqual(describeFailure(withCode("42P01")).message, 'the trouble with "canary"')
  })
})
