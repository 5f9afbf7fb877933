/** The description of examples/saas: every endpoint has its texts. */
import { assert, it } from "@effect/vitest"
import { OpenApi } from "effect/http-api"
import { Api } from "../../examples/saas/Api.ts"

type Part = Readonly<Record<string, unknown>>
const partOf = (value: unknown): Part =>
  typeof value === "object" && value !== null ? (value as Part) : assert.fail("not an object")
const at = (value: unknown, ...path: ReadonlyArray<string>): unknown =>
  path.reduce<unknown>((part, name) => partOf(part)[name], value)

/** The texts that an operation lacks. */
const missing = (spec: unknown, operation: Part): ReadonlyArray<string> => {
  const resolved = (schema: unknown): Part => {
    const { $ref, ...given } = partOf(schema)
    return typeof $ref === "string"
      ? partOf(
          at(
            spec,
            ...$ref
              .replace("#/", "")
              .split("/")
              .map((name) => name.replaceAll("~1", "/"))
          )
        )
      : given
  }
  const hasExample = (content: unknown): boolean =>
    Object.values(partOf(content)).some((media) => {
      const examples = resolved(at(media, "schema"))["examples"]
      return Array.isArray(examples) && examples.length > 0
    })
  const responses = Object.entries(partOf(operation["responses"]))
  const parameters = (operation["parameters"] ?? []) as ReadonlyArray<Part>
  return [
    ...["summary", "description"].filter((text) => typeof operation[text] !== "string"),
    ...(responses.some(([status, response]) => status === "200" && hasExample(at(response, "content")))
      ? []
      : ["example of the answer"]),
    ...(operation["requestBody"] === undefined || hasExample(at(operation, "requestBody", "content"))
      ? []
      : ["example of the request"]),
    ...(responses.some(([status]) => /^[45]/.test(status)) ? [] : ["errors"]),
    ...parameters
      .filter(({ description, example }) => typeof description !== "string" || example === undefined)
      .map(({ name }) => `text of ${String(name)}`)
  ]
}

it("has a summary, a description, an example and the errors of every endpoint", () => {
  const spec: unknown = OpenApi.fromApi(Api)
  const lacking = Object.entries(partOf(at(spec, "paths"))).flatMap(([path, methods]) =>
    Object.entries(partOf(methods)).flatMap(([method, operation]) =>
      missing(spec, partOf(operation)).map((text) => `${method} ${path}: ${text}`)
    )
  )
  assert.deepStrictEqual(lacking, [])
  assert.isAbove(Object.keys(partOf(at(spec, "paths"))).length, 5)
})
