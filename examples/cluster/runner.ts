/** One process of the cluster. `main.ts` starts it, with the port as its argument and the database in `DATABASE_URL`. */
import { Effect, Layer } from "effect"
import { Runner } from "./Orders.ts"

const port = Number(process.argv[2])
await Effect.runPromise(Layer.launch(Runner(process.env["DATABASE_URL"] ?? "", port)))
