/**
 * Adds to package-lock.json the packages for other platforms that the registry in use does not offer.
 *
 * npm leaves out what it cannot find, and `npm ci` then refuses the lock file on every platform. To be run after a
 * change of dependencies, if `npm ci` says "Missing: … from lock file".
 */
import { readFileSync, writeFileSync } from "node:fs"

interface Entry {
  readonly version?: string
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const file = new URL("../package-lock.json", import.meta.url)
const lock = JSON.parse(readFileSync(file, "utf8")) as { packages: Record<string, Entry> }

const systems = new Set([
  "aix",
  "android",
  "darwin",
  "freebsd",
  "linux",
  "netbsd",
  "openbsd",
  "openharmony",
  "sunos",
  "win32"
])
const processors = new Set([
  "arm",
  "arm64",
  "ia32",
  "loong64",
  "mips64el",
  "ppc64",
  "riscv64",
  "s390x",
  "x64"
])
const libraries: Readonly<Record<string, string>> = {
  gnu: "glibc",
  gnueabihf: "glibc",
  musl: "musl",
  musleabihf: "musl"
}

/** The platform that a name such as `@oxlint/binding-linux-x64-musl` stands for. */
const platformOf = (name: string) => {
  const words = name.split(/[/-]/)
  const os = words.filter((word) => systems.has(word))
  const cpu = words.filter((word) => processors.has(word))
  const libc = words.flatMap((word) => libraries[word] ?? [])
  if (os.length !== 1 || cpu.length !== 1) throw new Error(`no platform in the name ${name}`)
  return os[0] === "linux" && libc.length > 0 ? { cpu, libc, os } : { cpu, os }
}

const missing = Object.values(lock.packages).flatMap(({ optionalDependencies = {} }) =>
  Object.entries(optionalDependencies).filter(([name]) => !(`node_modules/${name}` in lock.packages))
)
for (const [name, range] of missing) {
  const entry = { version: range.replace(/^[\^~]/, ""), ...platformOf(name), dev: true, optional: true }
  lock.packages[`node_modules/${name}`] = entry
}
const sorted = Object.entries(lock.packages).toSorted(([a], [b]) => a.localeCompare(b, "en"))
writeFileSync(file, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`)
console.log(`${missing.length} packages added`)
