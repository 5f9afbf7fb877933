import * as AdministrationStorageSuite from "../../src/testing/AdministrationStorageSuite.ts"
import { everyBackend } from "../support/backends.ts"

for (const backend of everyBackend) AdministrationStorageSuite.suite(backend)
