/** The looks of operators on PGlite and on servers. */
import * as OperationsSuite from "../../src/testing/OperationsSuite.ts"
import { sqlBackends } from "../support/backends.ts"

for (const backend of sqlBackends) OperationsSuite.suite(backend)
