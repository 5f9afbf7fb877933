/**
 * The texts of the interface, and the page at `/docs`.
 */
import { type Context, type Layer, Schema } from "effect"
import { type HttpApi, type HttpApiGroup, HttpApiScalar, OpenApi } from "effect/http-api"
import type { HttpRouter } from "effect/http"

const parameters: Readonly<Record<string, { readonly description: string; readonly example: unknown }>> = {
  orderId: {
    description: "The order. Each shop has its own ids.",
    example: "0197a000-0000-7000-8000-0000000000a1"
  },
  "if-match": {
    description: "The etag that the client has seen: another version is refused.",
    example: '"1"'
  },
  "if-none-match": { description: "* to accept the command only for a new order.", example: "*" },
  position: { description: "Wait until the table contains this position, as of a receipt.", example: 1 },
  after: { description: "The last entry of the page before.", example: 0 },
  limit: { description: "Maximum number of entries, from 1 to 500. Default: 100.", example: 100 }
}

const isParameters = Schema.is(
  Schema.Array(
    Schema.StructWithRest(Schema.Struct({ name: Schema.String }), [
      Schema.Record(Schema.String, Schema.Unknown)
    ])
  )
)

/** Summary and description of an endpoint, with the texts of its parameters. */
export const described = (summary: string, description: string): Context.Context<never> =>
  OpenApi.annotations({
    summary,
    description,
    transform: (operation) => {
      const given: unknown = operation["parameters"]
      return {
        ...operation,
        parameters: isParameters(given)
          ? given.map((parameter) => Object.assign({}, parameter, parameters[parameter.name]))
          : []
      }
    }
  })

/** A token to choose on the page. */
export interface Token {
  readonly name: string
  readonly token: string
}

/** In place of one bearer scheme, one for each token, which Scalar fills in. */
const choosing = (tokens: ReadonlyArray<Token>) => (spec: Record<string, unknown>) => {
  const schemes = tokens.map(
    ({ name, token }) =>
      [
        name,
        {
          type: "http",
          scheme: "bearer",
          description: `The token of ${name}, for development`,
          "x-scalar-secret-token": token
        }
      ] as const
  )
  const security = tokens.map(({ name }) => ({ [name]: [] }))
  const replaced: unknown = JSON.parse(JSON.stringify(spec), (key, value: unknown) =>
    key === "security" && Array.isArray(value) && value.length > 0
      ? security
      : key === "securitySchemes"
        ? Object.fromEntries(schemes)
        : value
  )
  return Object.assign(spec, replaced)
}

/** The page, which asks no other host: its fonts are those of the browser. */
export const layer = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
  tokens: ReadonlyArray<Token>
): Layer.Layer<never, never, HttpRouter.HttpRouter> =>
  HttpApiScalar.layer(
    tokens.length === 0 ? api : api.annotateMerge(OpenApi.annotations({ transform: choosing(tokens) })),
    {
      path: "/docs",
      scalar: {
        withDefaultFonts: false,
        ...(tokens[0] === undefined ? {} : { authentication: { preferredSecurityScheme: tokens[0].name } })
      }
    }
  )
