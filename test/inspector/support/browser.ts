/** A Chromium for tests: the one of the package `@sparticuz/chromium` on Linux, elsewhere one that is installed. */
import { existsSync } from "node:fs"
import { type Browser, chromium as launcher } from "playwright-core"

const installed = [
  process.env["CHROMIUM_PATH"],
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
  "/usr/bin/chromium",
  "/usr/bin/google-chrome"
]

/** Starts the unpacked browser, once another process that unpacks it has written it. */
const launchUnpacked = async (
  options: Parameters<typeof launcher.launch>[0],
  attempts = 100
): Promise<Browser> => {
  try {
    return await launcher.launch(options)
  } catch (error) {
    if (attempts === 0 || !String(error).includes("ETXTBSY")) throw error
    await new Promise((resolve) => setTimeout(resolve, 100))
    return launchUnpacked(options, attempts - 1)
  }
}

/** Starts the browser. Fails if there is none, because a test of the page without a browser shows nothing. */
export const launch = async (): Promise<Browser> => {
  if (process.platform === "linux" && process.arch === "x64") {
    const { default: chromium } = await import("@sparticuz/chromium")
    return await launchUnpacked({
      executablePath: await chromium.executablePath(),
      args: chromium.args.filter((arg) => arg !== "--single-process"),
      headless: true
    })
  }
  const executablePath = installed.find((path) => path !== undefined && existsSync(path))
  if (executablePath === undefined)
    throw new Error("The tests of the page need a Chromium: install one, or set CHROMIUM_PATH to it.")
  return await launcher.launch({ executablePath, headless: true })
}
