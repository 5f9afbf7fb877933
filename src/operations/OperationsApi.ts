/**
 * `Operations` and `Actions` over HTTP: the description of looks and actions as an `HttpApi`.
 *
 * **Details**
 *
 * `OperationsServer` has its routes for the user's server, and `OperationsClient` gives `Operations` back from them. `OperatorAccess`
 * decides on the operator of each request.
 */
import type { HttpApi, HttpApiGroup } from "effect/http-api"
import { Api as TypedApi } from "./apiGroups.ts"

/** The description, for `OpenApi.fromApi` and for pages such as Scalar. */
export const Api: HttpApi.HttpApi<"operations", HttpApiGroup.Constraint> =
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The same description, without types that are too large to be published.
  TypedApi as unknown as HttpApi.HttpApi<"operations", HttpApiGroup.Constraint>
