/** The looks of operators on PGlite and on servers. */
import * as OperationsSuite from "../../src/testing/OperationsSuite.ts"
import { everySqlBackend } from "../support/backends.ts"

for (const backend of everySqlBackend) OperationsSuite.suite(backend)
