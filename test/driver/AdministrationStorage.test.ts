import * as AdministrationStorageSuite from "../../src/testing/AdministrationStorageSuite.ts"
import { backends } from "../support/backends.ts"

for (const backend of backends) AdministrationStorageSuite.suite(backend)
