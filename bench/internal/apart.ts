/** Programs of this folder in separate processes, which print their memory. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

/** Resident memory, idle and at most, in MB, and the number of events. */
export interface Footprint {
  readonly idle: number
  readonly peak: number
  readonly seen: number
}

/** Runs a program with arguments. */
export const apart = (program: "scan" | "importing", ...args: ReadonlyArray<string>): Promise<Footprint> =>
  new Promise((resolve, reject) => {
    const file = fileURLToPath(new URL(`${program}.ts`, import.meta.url))
    const child = spawn(process.execPath, ["--expose-gc", "--import", "tsx", file, ...args], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    let output = ""
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
    child.on("error", reject)
    child.on("close", (code) => {
      if (code === 0) resolve(JSON.parse(output) as Footprint)
      else reject(new Error(`${program} ended with ${code}`))
    })
  })
