/** Remedies for failures of the database, by SQLSTATE. */

const migrate =
  "run the migrations of the application, or correct the handler: the schema of the database is not the one that it uses"

/** Remedies for failures inside handlers, by prefix of SQLSTATE, the longest first. */
const remedies: ReadonlyArray<readonly [beginning: string, remedy: string]> = [
  ["25006", "the database accepts no writes: connect to the primary, or wait for the failover"],
  ["25P03", "the transaction was idle for longer than idle_in_transaction_session_timeout"],
  [
    "26000",
    "the pooler loses prepared statements: set prepare: false for the client, or have the pooler keep them"
  ],
  [
    "42501",
    "as the owner of the table or function, grant the right to eventsourcing_tenant (a projection across tenants: eventsourcing_all_tenants), and see PgCheck; a row of another tenant is refused as well"
  ],
  ["42883", "create the function, or correct its arguments: run the migrations of the application"],
  ["42P01", "create the table, or correct its name: run the migrations of the application"],
  ["53100", "the disk of the database is full: give it room"],
  [
    "53300",
    "the database has no connection left: raise max_connections, or lower maxConnections of the clients"
  ],
  ["55P03", "a lock was held for too long: look for the blocking transaction in pg_stat_activity"],
  [
    "57014",
    "the statement took longer than statement_timeout, or was cancelled: make it faster, or allow it more time"
  ],
  ["0A000", migrate],
  ["08", "the connection was lost: look at the network, the pooler and the server"],
  ["3F000", migrate],
  ["40", "concurrent work changed the same rows: it is tried again"],
  ["42", migrate],
  ["53", "the database has no resources left: give it more memory, disk or connections"],
  ["57", "the database is starting, stopping or was told to stop the work"],
  ["58", "the files of the database cannot be used: look at its disk and at its log"],
  [
    "XX",
    "the database reports damage in itself: look at its log, check it (amcheck), and restore a backup if need be"
  ]
]

/** Remedies for failures of the library's own statements that are no failures of a handler, the longest prefix first. */
const ofOwnStatements: ReadonlyArray<readonly [beginning: string, remedy: string]> = [
  [
    "25P02",
    "a statement of the same transaction had failed before: look for its error, and run the transaction again"
  ],
  [
    "2D000",
    "the transaction was ended by a statement of the program: start and end it with PgTenant.transaction alone"
  ],
  ["3D000", "the database does not exist: create it, or correct its name in the settings of the client"],
  ["ES001", "the transaction is bound to another tenant: use PgTenant.transaction, one for each tenant"],
  ["ES002", "no tenant was given: provide one with Tenant.provide"],
  [
    "ES003",
    "other code left a tenant or an open transaction on the connection: use PgTenant.transaction, and a pooler in session or transaction mode"
  ],
  [
    "ES004",
    "the access across tenants is not recorded: provide it with Tenant.provideAll, and have the clocks of program and database agree"
  ],
  ["22", "a value is malformed or out of range: correct the caller"],
  [
    "23",
    "a constraint refuses the row: remove constraints and triggers that were added to tables of the schema eventsourcing"
  ],
  [
    "25",
    "the transaction is not in the state that the statement needs: start it with PgTenant.transaction alone"
  ],
  ["54", "the statement exceeds a limit of the database: make the request smaller"],
  ["55", "an object is in use, or not in the state that the statement needs: look at pg_stat_activity"],
  [
    "P0",
    "a function or trigger of the application refuses it: look at the triggers on tables of the schema eventsourcing"
  ]
]

/** The entry of the first prefix of a code. */
export const byPrefix = <A>(
  list: ReadonlyArray<readonly [beginning: string, value: A]>,
  code: string
): A | undefined => list.find(([beginning]) => code.startsWith(beginning))?.[1]

/** The remedy for a failure inside a handler that is not the handler's own. */
export const handlerRemedy = (code: string): string | undefined => byPrefix(remedies, code)

/** The remedy for a failure of a statement of the library. */
export const statementRemedy = (code: string): string | undefined =>
  byPrefix(ofOwnStatements, code) ?? byPrefix(remedies, code)
